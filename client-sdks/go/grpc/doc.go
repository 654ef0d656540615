// Package lunasecgrpc has interceptors for grpc-go that do what .proto files say of fields: handlers keep tokens and never see
// a value, and what a session was not granted never reaches them.
//
//	message PlaceRequest {
//	  string card = 1 [(lunasec.field) = { tokenize: true, verify: true, grant: "15m" }];
//	}
//
// The rules are those of lunasec/options.proto, beside this package; see the SDK's README. Generate with
//
//	protoc -I . -I "$(go list -m -f '{{.Dir}}' github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc)/proto" \
//		--go_opt=Mlunasec/options.proto=github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc/lunasecpb …
package lunasecgrpc
