// grpc-js as a client of the sidecar. Arguments: the socket's path, that of a sidecar which asks for
// grants, and where the proto files are.
//
// Ends with 0 if everything was as it should be, and with an error that says what was not.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import protobuf from "protobufjs";

const [socket, asks, protos] = process.argv.slice(2);
const SERVICE = "lunasec.v1.Tokenizer";
const TOKEN = /^lunasec-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const UNKNOWN = "lunasec-00112233-4455-4677-8899-aabbccddeeff";

// As much of the well-known interfaces as is used here.
const known = protobuf.parse(`
  syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message HealthRequest { string service = 1; }
  message HealthResponse { int32 status = 1; }
  message ReflectionRequest { oneof message { string file_containing_symbol = 4; string list_services = 7; } }
  message Files { repeated bytes file = 1; }
  message Service { string name = 1; }
  message Services { repeated Service service = 1; }
  message ReflectionResponse { Files files = 4; Services services = 6; }
`).root;

const options = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true, includeDirs: [protos] };
const definition = loader.loadSync("lunasec/v1/tokenizer.proto", options);
const { Tokenizer } = grpc.loadPackageDefinition(definition).lunasec.v1;
const address = `unix:${socket}`;
const client = new Tokenizer(address, grpc.credentials.createInsecure());

const soon = () => Date.now() + 30_000;

function call(method, request, headers = {}, deadline = soon(), by = client) {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return new Promise((resolve, reject) => {
    const done = (error, answer) => (error ? reject(error) : resolve(answer));
    const sent = by[method](request, metadata, { deadline }, done);
    sent.on("metadata", (found) => (call.answered = found));
  });
}

async function refused(status, reason, method, request, headers, by) {
  try {
    await call(method, request, headers, soon(), by);
  } catch (error) {
    assert.equal(error.code, status, `${error.message} instead of ${reason}`);
    const details = known.lookupType("Status").decode(error.metadata.get("grpc-status-details-bin")[0]).details;
    assert.equal(details[0].typeUrl, "type.googleapis.com/google.rpc.ErrorInfo");
    const info = known.lookupType("ErrorInfo").decode(details[0].value);
    assert.deepEqual([info.reason, info.domain, info.metadata.retryable], [reason, "lunasec", "false"]);
    assert.ok(error.details, "an error says what happened");
    return error;
  }
  assert.fail(`answered instead of ${reason}`);
}

async function values() {
  for (const [value, encoding] of [
    [Buffer.from("4111 1111 1111 1111"), "ENCODING_UTF8"],
    [Buffer.from([0, 255, 128]), "ENCODING_BASE64"],
    [Buffer.alloc(0), "ENCODING_UTF8"],
    [randomBytes(1 << 20), "ENCODING_BASE64"],
  ]) {
    const { token, durability } = await call("Tokenize", { value });
    assert.match(token, TOKEN);
    assert.equal(durability, "DURABILITY_STORED");
    const revealed = await call("Detokenize", { token });
    assert.ok(value.equals(revealed.value), "another value came back");
    assert.equal(revealed.encoding, encoding);
  }
}

async function batches() {
  const items = Array.from({ length: 1_000 }, (_, n) => ({ value: Buffer.from(`value ${n}`) }));
  items[7].metadata = "no object";
  const given = (await call("BatchTokenize", { items })).items;
  assert.deepEqual([given[7].outcome, given[7].error.code], ["error", "invalid_request"]);
  const tokens = given.map((item) => item.tokenized?.token ?? UNKNOWN);
  const found = (await call("BatchDetokenize", { tokens })).items;
  assert.deepEqual(found.map((item) => item.token), tokens);
  found.forEach((item, n) => {
    if (n === 7) assert.deepEqual([item.error.code, item.error.retryable], ["not_found", false]);
    else assert.equal(item.detokenized.value.toString(), `value ${n}`);
  });
}

async function metadata() {
  const request = { value: Buffer.from("v"), metadata: '{"n": 1.0}', expires_in: { seconds: 3600 } };
  const { token } = await call("Tokenize", request);
  const got = await call("GetMetadata", { token });
  assert.deepEqual([got.metadata, got.version], ['{"n": 1.0}', 1]);
  assert.equal(got.expires_at.seconds - got.created_at.seconds, 3600);
  const update = { token, metadata: '{"n": 2}', if_version: 1 };
  assert.equal((await call("SetMetadata", update)).version, 2);
  await refused(grpc.status.ABORTED, "conflict", "SetMetadata", update);
}

// Where the policy asks for a grant: what a session may do, it may until that is taken back.
async function grants() {
  const by = new Tokenizer(`unix:${asks}`, grpc.credentials.createInsecure());
  const ask = (method, request, headers = {}) => call(method, request, headers, soon(), by);
  const { token } = await ask("Tokenize", { value: Buffer.from("alice's") });
  const [alice, bob] = [randomBytes(8).toString("hex"), randomBytes(8).toString("hex")];
  const verify = async (session) => (await ask("VerifyGrants", { tokens: [token], session })).items[0];
  const isDenied = async (session) => {
    const { outcome, refusal } = await verify(session);
    assert.deepEqual([outcome, refusal], ["refusal", "REFUSAL_DENIED"]);
    const headers = { "lunasec-session": session };
    await refused(grpc.status.PERMISSION_DENIED, "grant_denied", "Detokenize", { token }, headers, by);
  };
  await isDenied(alice);
  const expires_in = { seconds: 3600 };
  const [{ granted }] = (await ask("CreateGrants", { tokens: [token], session: alice, expires_in })).items;
  assert.equal(granted.durability, "DURABILITY_STORED");
  assert.deepEqual((await verify(alice)).valid_until, granted.expires_at);
  const revealed = await ask("Detokenize", { token }, { "lunasec-session": alice });
  assert.equal(revealed.value.toString(), "alice's");
  await isDenied(bob);
  await refused(grpc.status.UNAUTHENTICATED, "unauthenticated", "Detokenize", { token }, {}, by);
  assert.equal((await ask("RevokeGrants", { tokens: [token], session: alice })).revoked, 1);
  await isDenied(alice);
  by.close();
}

async function deletes() {
  const { token } = await call("Tokenize", { value: Buffer.from("v") });
  const { items } = await call("Delete", { tokens: [token, "no token"] });
  assert.deepEqual(items.map((item) => item.outcome), ["deleted", "error"]);
  const error = await refused(grpc.status.NOT_FOUND, "not_found", "Detokenize", { token });
  assert.ok(!error.message.includes(token));
}

async function headers() {
  const key = { "idempotency-key": randomBytes(8).toString("hex") };
  const value = Buffer.from("v");
  const first = await call("Tokenize", { value }, key);
  const again = await call("Tokenize", { value }, key);
  assert.equal(first.token, again.token);
  assert.equal(call.answered.get("lunasec-request-id")[0].length, 16);
  await refused(grpc.status.ABORTED, "conflict", "Tokenize", { value: Buffer.from("w") }, key);
  const elsewhere = { "lunasec-namespace": "elsewhere" };
  await refused(grpc.status.NOT_FOUND, "not_found", "Detokenize", first, elsewhere);
}

async function refusals() {
  const { INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED } = grpc.status;
  await refused(INVALID_ARGUMENT, "invalid_token", "Detokenize", { token: "4111" });
  await refused(INVALID_ARGUMENT, "invalid_request", "BatchTokenize", { items: [] });
  await refused(INVALID_ARGUMENT, "invalid_request", "Detokenize", { token: "x" }, { "idempotency-key": "a b" });
  const large = Buffer.alloc((1 << 20) + 1);
  await refused(RESOURCE_EXHAUSTED, "payload_too_large", "Tokenize", { value: large });
  const items = Array.from({ length: 17 }, () => ({ value: Buffer.alloc(1 << 20) }));
  await refused(RESOURCE_EXHAUSTED, "payload_too_large", "BatchTokenize", { items });
  const gzip = { "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip };
  const zipping = new Tokenizer(address, grpc.credentials.createInsecure(), gzip);
  await refused(UNIMPLEMENTED, "unsupported_media_type", "Tokenize", { value: Buffer.alloc(10_000) }, {}, zipping);
  zipping.close();
}

async function deadlines() {
  const items = Array.from({ length: 1_000 }, () => ({ value: Buffer.alloc(10_000) }));
  await assert.rejects(call("BatchTokenize", { items }, {}, Date.now() + 1), { code: grpc.status.DEADLINE_EXCEEDED });
}

async function manyAtOnce() {
  const calls = Array.from({ length: 500 }, () => call("Tokenize", { value: Buffer.from("v") }));
  assert.equal(new Set((await Promise.all(calls)).map(({ token }) => token)).size, 500);
}

// Any method, with the messages above.
function raw(path, request, response) {
  const [to, from] = [known.lookupType(request), known.lookupType(response)];
  return [path, (message) => Buffer.from(to.encode(message).finish()), (bytes) => from.decode(bytes)];
}

function once(path, request, response, message) {
  return new Promise((resolve, reject) => {
    const done = (error, answer) => (error ? reject(error) : resolve(answer));
    client.makeUnaryRequest(...raw(path, request, response), message, { deadline: soon() }, done);
  });
}

async function health() {
  const check = (service) => once("/grpc.health.v1.Health/Check", "HealthRequest", "HealthResponse", { service });
  assert.equal((await check("")).status, 1);
  assert.equal((await check(SERVICE)).status, 1);
  await assert.rejects(check("nobody"), { code: grpc.status.NOT_FOUND });
  const method = raw("/grpc.health.v1.Health/Watch", "HealthRequest", "HealthResponse");
  const watch = client.makeServerStreamRequest(...method, { service: "" }, { deadline: soon() });
  watch.on("error", () => {});
  const [first] = await new Promise((resolve) => watch.once("data", (...data) => resolve(data)));
  assert.equal(first.status, 1);
  watch.cancel();
}

async function reflection(version) {
  const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
  const stream = client.makeBidiStreamRequest(...raw(path, "ReflectionRequest", "ReflectionResponse"), { deadline: soon() });
  const answers = [];
  stream.on("data", (answer) => answers.push(answer));
  stream.write({ listServices: "" });
  stream.end({ fileContainingSymbol: SERVICE });
  await new Promise((resolve, reject) => stream.on("end", resolve).on("error", reject));
  const names = answers[0].services.service.map(({ name }) => name);
  for (const name of [SERVICE, "grpc.health.v1.Health"]) assert.ok(names.includes(name), `${names}`);
  assert.ok(Buffer.from(answers[1].files.file[0]).includes("tokenizer.proto"));
}

async function unknownMethod() {
  const unknown = once(`/${SERVICE}/Reveal`, "HealthRequest", "HealthResponse", {});
  await assert.rejects(unknown, { code: grpc.status.UNIMPLEMENTED });
}

await values();
await batches();
await metadata();
await grants();
await deletes();
await headers();
await refusals();
await deadlines();
await manyAtOnce();
await health();
await reflection("v1");
await reflection("v1alpha");
await unknownMethod();
assert.ok((await call("GetStatus", {})).version);
client.close();
console.log("node: all as it should be");
