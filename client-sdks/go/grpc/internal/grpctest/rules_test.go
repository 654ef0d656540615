package grpctest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	lunasecgrpc "github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc"
)

// filesOf a service whose request and answer have these members.
func filesOf(t *testing.T, request, answer string, resolve bool) *protoregistry.Files {
	t.Helper()
	return compiled(t, `syntax = "proto3"; package toy; import "lunasec/options.proto"; import "google/protobuf/wrappers.proto";
		service Toys { rpc Make(Ask) returns (Answer); }
		message Ask { `+request+` } message Answer { `+answer+` } message Inner { string text = 1; }`, resolve)
}

// protected by a server's interceptors, of which there is nothing wrong.
func protected(t *testing.T, files *protoregistry.Files) {
	t.Helper()
	client, err := lunasec.New(lunasec.Socket("/nowhere/s"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lunasecgrpc.NewServer(lunasecgrpc.Options{Client: client, Session: lunasecgrpc.FromMetadata("session"), Files: files}); err != nil {
		t.Error(err)
	}
}

// compiled are the files of a .proto, with or without what its options mean.
func compiled(t *testing.T, source string, resolve bool) *protoregistry.Files {
	t.Helper()
	sources := protocompile.SourceAccessorFromMap(map[string]string{"toy.proto": source})
	options, err := os.ReadFile("../../proto/lunasec/options.proto")
	if err != nil {
		t.Fatal(err)
	}
	both := func(path string) (protocompile.SearchResult, error) {
		if path == "lunasec/options.proto" {
			return protocompile.SearchResult{Source: bytes.NewReader(options)}, nil
		}
		return (&protocompile.SourceResolver{Accessor: sources}).FindFileByPath(path)
	}
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.ResolverFunc(both))}
	linked, err := compiler.Compile(context.Background(), "toy.proto")
	if err != nil {
		t.Fatal(err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		if !slices.ContainsFunc(set.File, func(known *descriptorpb.FileDescriptorProto) bool { return known.GetName() == file.Path() }) {
			set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
		}
	}
	add(linked[0])
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	reader := proto.UnmarshalOptions{}
	if !resolve {
		reader.Resolver = new(protoregistry.Types)
	}
	read := &descriptorpb.FileDescriptorSet{}
	if err := reader.Unmarshal(raw, read); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(read)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestRulesThatCannotBeCarriedOutAreSaidAtOnceWithTheirPlaces(t *testing.T) {
	client, err := lunasec.New(lunasec.Socket("/nowhere/s"))
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		request, answer string
		session         bool
		mistakes        []string
	}{
		"a number":                    {`int32 n = 1 [(lunasec.field).tokenize = true];`, ``, true, []string{"toy.Ask.n: it is of type int32"}},
		"a message":                   {`Inner i = 1 [(lunasec.field).tokenize = true];`, ``, true, []string{"toy.Ask.i: it is of type toy.Inner"}},
		"a map of numbers":            {`map<string, int32> m = 1 [(lunasec.field).tokenize = true];`, ``, true, []string{"toy.Ask.m: it is a map of int32"}},
		"a duration that is none":     {`string s = 1 [(lunasec.field) = { tokenize: true, grant: "soon" }];`, ``, true, []string{"toy.Ask.s: (lunasec.field).grant"}},
		"a rule on the wrong side":    {`string s = 1 [(lunasec.field).detokenize = true];`, ``, true, []string{"toy.Ask.s: it is only part of requests"}},
		"on the other wrong side":     {``, `string s = 1 [(lunasec.field).verify = true];`, true, []string{"toy.Answer.s: it is only part of responses"}},
		"a session that nobody gives": {`string s = 1 [(lunasec.field).verify = true];`, `string s = 1 [(lunasec.field).grant = "1m"];`, false, []string{"toy.Answer.s: grant and verify", "toy.Ask.s: grant and verify"}},
		"nothing wrong":               {`string s = 1 [(lunasec.field).tokenize = true];`, `google.protobuf.BytesValue s = 1 [(lunasec.field).detokenize = true];`, false, nil},
	} {
		options := lunasecgrpc.Options{Client: client, Files: filesOf(t, row.request, row.answer, true)}
		if row.session {
			options.Session = lunasecgrpc.FromMetadata("session")
		}
		_, err := lunasecgrpc.NewServer(options)
		if row.mistakes == nil {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var mistakes *lunasecgrpc.RuleError
		if !errors.As(err, &mistakes) || len(mistakes.Mistakes) != len(row.mistakes) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, start := range row.mistakes {
			if !strings.HasPrefix(mistakes.Mistakes[i], start) {
				t.Errorf("%s: %s", name, mistakes.Mistakes[i])
			}
		}
	}
	if _, err := lunasecgrpc.NewServer(lunasecgrpc.Options{}); err == nil {
		t.Error("interceptors without a client are made")
	}
}

func TestARuleThatNoLinkedCodeCanReadIsNotPassedBy(t *testing.T) {
	client, err := lunasec.New(lunasec.Socket("/nowhere/s"))
	if err != nil {
		t.Fatal(err)
	}
	files := filesOf(t, `string s = 1 [(lunasec.field).tokenize = true];`, ``, false)
	_, err = lunasecgrpc.NewServer(lunasecgrpc.Options{Client: client, Files: files})
	if err == nil || !strings.Contains(err.Error(), "toy.Ask.s: its rule cannot be read") {
		t.Error(err)
	}
}

func TestTheGeneratedCodeIsWhatTheScriptMakes(t *testing.T) {
	into := t.TempDir()
	command := exec.Command("go", "run", "./generate", into)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, path := range []string{"lunasecpb/options.pb.go", "internal/grpctest/shoppb/shop.pb.go", "internal/grpctest/shoppb/shop_grpc.pb.go"} {
		made, err := os.ReadFile(filepath.Join(into, path))
		if err != nil {
			t.Fatal(err)
		}
		kept, err := os.ReadFile(filepath.Join("../..", path))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(made, kept) {
			t.Errorf("%s is not what `go run ./generate ../..` makes", path)
		}
	}
	ours, err := os.ReadFile("../../proto/lunasec/options.proto")
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := os.ReadFile("../../../../node/proto/lunasec/options.proto")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ours, nodes) {
		t.Error("lunasec/options.proto differs between the SDKs")
	}
}
