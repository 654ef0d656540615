// Generates the Go code of lunasec/options.proto and of the tests' own .proto file, without protoc: protocompile reads them,
// and the plugins, of pinned versions, write the code.
//
//	go run ./generate DIRECTORY
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const module = "github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc"

var plugins = []string{
	"google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.6",
	"google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1",
}

// parameters say which Go package each file is.
const parameters = "module=" + module +
	",Mlunasec/options.proto=" + module + "/lunasecpb" +
	",Mshop.proto=" + module + "/internal/grpctest/shoppb"

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run writes the code below a directory, as it is below the module's.
func run(into string) error {
	resolver := protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{"protos", "../../proto"}})
	compiler := protocompile.Compiler{Resolver: resolver, SourceInfoMode: protocompile.SourceInfoStandard}
	names := []string{"lunasec/options.proto", "shop.proto"}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return err
	}
	asked := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: names, ProtoFile: withImports(files), Parameter: proto.String(parameters),
		CompilerVersion: &pluginpb.Version{Major: proto.Int32(0), Minor: proto.Int32(14), Patch: proto.Int32(1)},
	}
	for _, plugin := range plugins {
		if err := generate(plugin, asked, into); err != nil {
			return err
		}
	}
	return nil
}

// withImports are all files, each after those that it needs.
func withImports(files linker.Files) []*descriptorpb.FileDescriptorProto {
	var all []*descriptorpb.FileDescriptorProto
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		all = append(all, protodesc.ToFileDescriptorProto(file))
	}
	for _, file := range files {
		add(file)
	}
	return all
}

func generate(plugin string, asked *pluginpb.CodeGeneratorRequest, into string) error {
	in, err := proto.Marshal(asked)
	if err != nil {
		return err
	}
	command := exec.Command("go", "run", plugin)
	command.Stdin, command.Stderr = bytes.NewReader(in), os.Stderr
	out, err := command.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", plugin, err)
	}
	var made pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &made); err != nil {
		return err
	}
	if made.Error != nil {
		return fmt.Errorf("%s: %s", plugin, made.GetError())
	}
	for _, file := range made.File {
		path := filepath.Join(into, file.GetName())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		// Which compiler it was is of no matter, and its version would only change the file.
		content := strings.ReplaceAll(file.GetContent(), "(unknown)", "v0.14.1")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
