module github.com/lunasec-io/lunasec-sidecar/client-sdks/go

go 1.23.0
