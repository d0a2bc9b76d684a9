package liveness

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// The parallel tests are those that take their time on real sockets: they wait
// far more than they work, so there may be more of them than processors.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "16") // unless the command line has another number
	goleak.VerifyTestMain(m)
}
