module github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc

go 1.23.0

require (
	github.com/lunasec-io/lunasec-sidecar/client-sdks/go v0.1.0
	google.golang.org/genproto/googleapis/rpc v0.0.0-20250115164207-1a7da9e5054f
	google.golang.org/grpc v1.71.3
	google.golang.org/protobuf v1.36.6
)

require (
	golang.org/x/net v0.34.0 // indirect
	golang.org/x/sys v0.29.0 // indirect
	golang.org/x/text v0.21.0 // indirect
)

replace github.com/lunasec-io/lunasec-sidecar/client-sdks/go => ..
