package load

import (
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

// asWorker makes the test's own binary a worker.
const asWorker = "LIVENET_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		os.Exit(Work(os.Stdin, os.Stdout))
	}
	goleak.VerifyTestMain(m)
}

// ourselves is a process, still to be started, that is a worker.
func ourselves(t *testing.T) func() *exec.Cmd {
	t.Helper()
	if err := supported(); err != nil {
		t.Skip(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return func() *exec.Cmd {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), asWorker+"=1", "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true")
		return cmd
	}
}
