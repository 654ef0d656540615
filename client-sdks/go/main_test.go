package lunasec

import (
	"testing"

	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
)

func TestMain(m *testing.M) { sidecar.Main(m) }
