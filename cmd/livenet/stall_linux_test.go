package main

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Rule 10: a server process that was stopped for two timeouts closes no client that has kept
// beating, and closes the others.
func TestRule10StoppedServerKeepsLiveClients(t *testing.T) {
	t.Parallel()
	const timeout, peers = 500 * time.Millisecond, 20
	cmd, stderr := spawn(t, "serve", "--listen", "127.0.0.1:0", "--timeout", timeout.String(), "--log-format", "json")
	defer cmd.Wait()
	defer cmd.Process.Kill()
	addr := await(t, stderr, "listening").text("addr")
	dead := dialEchoed(t, addr)

	// Each client sends a byte every tenth of a timeout and reads the echo. After its end, Read
	// returns an error.
	var beating sync.WaitGroup
	quit := make(chan struct{})
	for range peers {
		conn := dialEchoed(t, addr)
		beating.Go(func() {
			ticker := time.NewTicker(timeout / 10)
			defer ticker.Stop()
			for sent := 1; ; sent++ {
				if _, err := conn.Write([]byte{'.'}); err != nil {
					t.Errorf("a peer that beats was ended: %v", err)
					return
				}
				select {
				case <-ticker.C:
				case <-quit:
					if _, err := io.ReadFull(conn, make([]byte, sent)); err != nil {
						t.Errorf("a peer that beats was ended: %v", err)
					}
					return
				}
			}
		})
	}
	cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(2 * timeout) // this is the stall
	resumed := time.Now()
	cmd.Process.Signal(syscall.SIGCONT)

	if _, err := io.ReadAll(dead); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a peer that is silent was not ended")
	} else if took := time.Since(resumed); took > timeout+time.Second {
		t.Errorf("a peer that is silent was ended after %v", took)
	}
	if end := await(t, stderr, "closed"); end.text("reason") != "silent" {
		t.Errorf("it was ended for %v", end)
	}
	// By now every late verdict has been executed.
	time.Sleep(timeout)
	close(quit)
	beating.Wait()
}

// dialEchoed returns a connection that has received an echo.
func dialEchoed(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(soon))
	if _, err := conn.Write([]byte{'.'}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return conn
}
