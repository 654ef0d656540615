import { accessSync, constants } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';

import protobuf = require('protobufjs');

import { type DescriptorSet, shapesOfDescriptors } from './descriptors.js';

import place = require('./place.cjs');

import { type ReflectedRoot, shapesOfRoot } from './reflection.js';
import type { Shapes } from './shapes.js';

/** The folder that has `lunasec/options.proto`: for the `includeDirs` of `@grpc/proto-loader`, or protoc's `-I`. */
export const PROTO_DIR: string = join(place.directory, '..', '..', '..', 'proto');

/** As `@grpc/proto-loader` has it. */
export interface ProtosOptions {
  /** Where files and their imports are looked for; {@link PROTO_DIR} is one of them without being named. */
  readonly includeDirs?: readonly string[] | undefined;
}

/**
 * What .proto files say of fields. `@grpc/proto-loader` drops options that it does not know, so that they are read here a
 * second time: by the same names and `includeDirs`.
 */
export class Protos {
  /** @internal */
  readonly shapes: Shapes;

  private constructor(shapes: Shapes) {
    this.shapes = shapes;
  }

  /** From .proto files. */
  static loadSync(files: string | readonly string[], options: ProtosOptions = {}): Protos {
    // The names as they are written: all others are known from them.
    return Protos.fromRoot(rootFor(options).loadSync([...[files].flat()], { keepCase: true }));
  }

  /** From .proto files. */
  static async load(files: string | readonly string[], options: ProtosOptions = {}): Promise<Protos> {
    return Protos.fromRoot(await rootFor(options).load([...[files].flat()], { keepCase: true }));
  }

  /** From a `Root` of protobufjs, whichever way that was made: `load`, `parse`, or `fromJSON` of what `pbjs` wrote. */
  static fromRoot(root: ReflectedRoot): Protos {
    return new Protos(shapesOfRoot(root));
  }

  /**
   * From the bytes of a `google.protobuf.FileDescriptorSet`, such as `protoc --include_imports --descriptor_set_out` and
   * `buf build` write.
   */
  static fromDescriptorSet(bytes: Uint8Array): Protos {
    const root = rootFor({}).loadSync('lunasec/options.proto').resolveAll();
    const type = root.lookupType('google.protobuf.FileDescriptorSet');
    return new Protos(shapesOfDescriptors(type.toObject(type.decode(bytes)) as DescriptorSet));
  }
}

/** Finds files as `@grpc/proto-loader` does. */
function rootFor({ includeDirs = [] }: ProtosOptions): protobuf.Root {
  const root = new protobuf.Root();
  const resolve = root.resolvePath.bind(root);
  // The last is for google/protobuf/descriptor.proto, which lunasec/options.proto imports.
  const directories = [...includeDirs, PROTO_DIR, dirname(place.protobufjs)];
  root.resolvePath = (origin, target) =>
    isAbsolute(target)
      ? target
      : (directories.map((directory) => join(directory, target)).find(readable) ?? resolve(origin, target));
  return root;
}

function readable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
