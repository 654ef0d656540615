module github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/packagetest

go 1.23.0

require (
	github.com/lunasec-io/lunasec-sidecar/client-sdks/go v0.1.0
	golang.org/x/mod v0.22.0
)

replace github.com/lunasec-io/lunasec-sidecar/client-sdks/go => ../..
