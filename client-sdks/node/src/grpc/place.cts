// CommonJS in both builds, since only there a file knows in the same words where it and its dependencies are.
export = { directory: __dirname, protobufjs: require.resolve('protobufjs/package.json') };
