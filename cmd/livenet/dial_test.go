package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/settings"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
)

func TestDialBadUsage(t *testing.T) {
	t.Parallel()
	files := certificateFiles(t)
	pin := "sha256:" + strings.Repeat("0", 64)
	for _, test := range []struct{ args, want string }{
		{"", "want an address: livenet dial [FLAGS] ADDR, such as 127.0.0.1:7373"},
		{"a b", `unexpected argument "b": want one address`},
		{"a:no-such-service", `address "a:no-such-service": the port must be a number from 0 to 65535, or the name of a service`},
		{"--transport foo a", `unknown transport "foo": there are quic, tcp and yamux`},
		{"--codec auto a", `unknown codec "auto": there are frame, line and raw`},
		{"--beat 1s --no-beat a", "--beat and --no-beat contradict each other"},
		{"--beat 1s --codec raw a", "--beat makes no sense with the raw codec: it has no beats"},
		{"--beat -1s a", "--beat -1s: out of range: from 20ms to 87600h (ten years)"},
		{"--timeout 0 a", "--timeout 0s: out of range: from 20ms to 87600h (ten years)"},
		{"--connect-timeout x a", `--connect-timeout "x": want a duration, such as 500ms, 4s or 1h30m`},
		{"--ca x a", "--ca needs TLS: add --tls"},
		{"--insecure a", "--insecure needs TLS: add --tls"},
		{"--tls --ca= a", "--ca is empty: want the name of a file"},
		{"--tls --pin sha256:12 a", `--pin "sha256:12": want sha256: and 64 hexadecimal digits`},
		{"--tls --insecure --pin " + pin + " a", "--pin and --insecure contradict each other: take one"},
		{"--transport quic --tls=false a", "--tls can't be false: quic always has TLS"},
		{"--tls --tls-cert " + files.cert + " a", "--tls-cert is without its key: add --tls-key"},
		{"--tls --tls-key " + files.key + " a", "--tls-key is without its certificate: add --tls-cert"},
		{"--tls-cert " + files.cert + " --tls-key " + files.key + " a", "--tls-cert needs TLS: add --tls"},
		{"a -t quic", "unknown flag -t: see --help"},
		{"a --transprot quic", "unknown flag --transprot: did you mean --transport?"},
	} {
		status, stdout, stderr := try(t, nil, append([]string{"dial"}, strings.Fields(test.args)...)...)
		if want := "livenet dial: " + test.want + "\n"; status != statusUsage || stderr != want || stdout != "" {
			t.Errorf("dial %s: exit status %d, stdout %q,\n got %swant %s", test.args, status, stdout, stderr, want)
		}
	}
}

// If the server can't be reached or verified, dial prints one line.
func TestDialErrors(t *testing.T) {
	t.Parallel()
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close() // now the port has no listener
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	server := serveJSON(t, "--listener", "tcp://127.0.0.1:0?timeout=10s&handler=discard",
		"--listener", "quic://127.0.0.1:0?timeout=10s", "--listener", "yamux://127.0.0.1:0?timeout=10s&tls&codec=raw&handler=discard")
	stranger := t.TempDir() // without the server's certificate
	for _, test := range []struct{ args, addr, want string }{
		{"", refused.Addr().String(), "connection refused: no server listens there"},
		{"--transport quic --connect-timeout 200ms", silent.LocalAddr().String(), "no answer within 200ms"},
		{"", "host.invalid:7373", "no address is known for host.invalid"},
		{"--transport quic", server.addr("quic"), "its certificate is not signed by a trusted authority: trust the authority with --ca FILE, or the server's key with --pin sha256:HEX, which livenet serve prints"},
		{"--transport yamux --tls", server.addr("yamux"), "its certificate is not signed by a trusted authority: trust the authority with --ca FILE, or the server's key with --pin sha256:HEX, which livenet serve prints"},
		{"--transport quic --pin sha256:" + strings.Repeat("0", 64), server.addr("quic"), "the server's key is not the pinned one, but sha256:"},
		{"--transport yamux --tls --insecure --connect-timeout 200ms", server.addr("yamux"), "it sends nothing: is it a livenet server with this transport? Otherwise see --transport, --codec raw and --tls"},
	} {
		args := append([]string{"dial"}, strings.Fields(test.args)...)
		status, _, stderr := try(t, map[string]string{"LIVENET_DATA_DIR": stranger}, append(args, test.addr)...)
		transport := "tcp"
		if i := strings.Index(test.args, "--transport "); i >= 0 {
			transport = strings.Fields(test.args[i:])[1]
		}
		want := fmt.Sprintf("livenet dial: can't connect to %s %s: %s", transport, test.addr, test.want)
		if status != statusFailed || !strings.HasPrefix(stderr, want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("dial %s: exit status %d,\n got %swant %s", test.args, status, stderr, want)
		}
	}
}

// If the server answers in another protocol, the error says so.
func TestDialWrongServer(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]string{
		"220 mail.example.net ESMTP\r\n": "protocol-error (frame: ",
		"":                               "it closes the connection: ",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			bufio.NewReader(conn).Peek(4) // read the preface, so that closing causes no reset
			io.WriteString(conn, words)
			conn.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, conn)
		}()
		status, _, stderr := try(t, nil, "dial", l.Addr().String())
		if status != statusFailed || !strings.Contains(stderr, ": "+want) || !strings.HasSuffix(stderr, "is it a livenet server with this transport? Otherwise see --transport, --codec raw and --tls\n") {
			t.Errorf("%q: exit status %d: %s", words, status, stderr)
		}
		l.Close()
		<-served
	}
}

// The error of dialling with TLS to a server without it has a hint.
func TestDialTLSToAServerWithout(t *testing.T) {
	t.Parallel()
	server := serveJSON(t, "--listener", "tcp://127.0.0.1:0?timeout=10s", "--listener", "yamux://127.0.0.1:0?timeout=10s")
	for _, transport := range []string{"tcp", "yamux"} {
		status, _, stderr := try(t, nil, "dial", "--tls", "--insecure", server.addr(transport))
		if status != statusFailed || !strings.Contains(stderr, ": TLS handshake: ") || !strings.HasSuffix(stderr, "leave --tls out\n") {
			t.Errorf("%s: exit status %d: %s", transport, status, stderr)
		}
	}
}

// A server is verified by the development certificate, an authority or a pin, or not at all
// with --insecure.
func TestDialTrust(t *testing.T) {
	t.Parallel()
	server := serveJSON(t, "--listener", "quic://127.0.0.1:0?timeout=10s", "--listener", "tcp://127.0.0.1:0?timeout=10s&tls", "--listener", "yamux://127.0.0.1:0?timeout=10s&tls")
	cert := server.event(1, line{"msg": "certificate"})
	for _, transport := range []string{"quic", "tcp", "yamux"} {
		for _, test := range []struct {
			folder string
			flags  []string
			port   bool // is all that it is given of the address
		}{
			{folder: cert.text("folder")},
			{folder: cert.text("folder"), port: true},
			{flags: []string{"--ca", filepath.Join(cert.text("folder"), "cert.pem")}},
			{flags: []string{"--pin", cert.text("pin")}},
			{flags: []string{"--insecure"}},
		} {
			client := newTrial(t)
			if test.folder != "" {
				client.env["LIVENET_DATA_DIR"] = test.folder
			}
			client.stdin = strings.NewReader("hello")
			addr := server.addr(transport)
			if test.port {
				addr = addr[strings.LastIndexByte(addr, ':'):]
			}
			client.start(append(append([]string{"dial", addr, "--transport", transport}, test.flags...), "--tls")...)
			if status := client.wait(); status != 0 || client.stdout.String() != "hello" {
				t.Errorf("%s %v: exit status %d: %s", transport, test.flags, status, client.stderr)
			}
		}
	}
}

// Only names of this machine are verified by the development certificate.
func TestLocal(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"localhost:1": true, "LOCALHOST:1": true, "127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "[::1%lo]:1": true, ":1": true, host + ":1": true,
		"example.net:1": false, "192.0.2.1:1": false, "[2001:db8::1]:1": false, "localhost.example.net:1": false,
	} {
		if got := local(addr); got != want {
			t.Errorf("local(%q) = %v", addr, got)
		}
	}
}

// An IPv6 zone is not part of the name to verify, on any transport.
func TestDialZone(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere ::1 has no zone, or the interface another name")
	}
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	l.Close()
	server := serveJSON(t, "--listener", "tcp://[::1]:0?timeout=1h&tls", "--listener", "yamux://[::1]:0?timeout=1h&tls", "--listener", "quic://[::1]:0?timeout=1h")
	for _, transport := range stack.Names {
		_, port, _ := net.SplitHostPort(server.addr(transport))
		for _, trust := range []string{"--ca=" + filepath.Join(server.env["LIVENET_DATA_DIR"], "cert.pem"), "--tls"} {
			if status, _, stderr := try(t, server.env, "dial", "--tls", trust, "--transport", transport, "[::1%lo]:"+port); status != 0 {
				t.Errorf("%s %s: exit status %d: %s", transport, trust, status, stderr)
			}
		}
	}
}

// Dial sends a client certificate to a server that requires one.
func TestDialClientCertificate(t *testing.T) {
	t.Parallel()
	files := certificateFiles(t)
	for _, transport := range []string{"quic", "tcp", "yamux"} {
		server := serveJSON(t, "--transport", transport, "--tls", "--client-ca", files.cert, "--listen", "127.0.0.1:0")
		addr := server.addr(transport)
		client := newTrial(t)
		client.env = server.env
		client.stdin = strings.NewReader("hello")
		client.start("dial", "--transport", transport, "--tls", "--tls-cert", files.cert, "--tls-key", files.key, addr)
		if status := client.wait(); status != 0 || client.stdout.String() != "hello" {
			t.Errorf("%s: exit status %d: %s", transport, status, client.stderr)
		}
		const cause = "the server refuses the TLS handshake: tls: certificate required"
		for _, codec := range []string{"frame", "raw"} {
			status, _, stderr := try(t, server.env, "dial", "--transport", transport, "--codec", codec, "--tls", addr)
			want := "livenet dial: can't connect to " + transport + " " + addr + ": " + cause + ": if it requires client certificates, pass one with --tls-cert and --tls-key\n"
			if lost := ": " + cause + "\n"; codec == "raw" && status == statusLost && strings.HasSuffix(stderr, lost) {
				want, status = stderr, statusFailed // it was connected when the refusal came
			}
			if status != statusFailed || strings.Count(stderr, "\n") != 1 || stderr != want {
				t.Errorf("%s, %s without a certificate: exit status %d: %s", transport, codec, status, stderr)
			}
		}
		server.event(2, line{"msg": "closed", "reason": "protocol-error", "error": "TLS handshake: tls: client didn't provide a certificate"})
		try(t, nil, "dial", "--transport", transport, "--tls", addr) // which knows nothing of the server's certificate
		server.event(1, line{"msg": "closed", "reason": "transport-lost", "error": "TLS handshake: remote error: tls: bad certificate"})
	}
}

// At the end of stdin dial half-closes, and still receives what the server sends.
func TestDialHalfCloses(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789abcdef", 1<<16)
	for _, transport := range []string{"tcp", "quic", "yamux"} {
		for _, name := range []string{"frame", "raw", "line"} {
			server := serveJSON(t, "--transport", transport, "--codec", map[string]string{"frame": "auto", "raw": "raw", "line": "line"}[name], "--listen", "127.0.0.1:0")
			client := newTrial(t)
			client.env = server.env
			words := big
			if name == "line" {
				words = strings.Repeat("0123456789abcde\n", 1<<16)
			}
			client.stdin = strings.NewReader(words)
			client.start("dial", "--transport", transport, "--codec", name, server.addr(transport))
			if status := client.wait(); status != 0 || client.stderr.String() != "" {
				t.Errorf("%s %s: exit status %d: %s", transport, name, status, client.stderr)
			}
			if got := client.stdout.String(); got != words {
				t.Errorf("%s %s: %d bytes come back, of %d", transport, name, len(got), len(words))
			}
		}
	}
}

// With --keep-open a server that aborts on a half-close answers.
func TestDialKeepOpenDoesNotHalfClose(t *testing.T) {
	t.Parallel()
	for _, transport := range stack.Names {
		for _, framing := range []string{"raw", "line", "frame"} {
			conf, _, err := serverTLS(newTrial(t).process(), &settings.Listener{TLS: stack.AlwaysTLS(transport)})
			if err != nil {
				t.Fatal(err)
			}
			tr, err := stack.New(transport, conf, stack.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			l, err := tr.Listen(t.Context(), "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			code, _ := codec.ByName(framing)
			ended := make(chan error, 1)
			srv := &liveness.Server{
				Config: liveness.Config{Policy: liveness.Fixed(time.Minute)}, Codec: code,
				Handler: func(_ context.Context, c *liveness.Conn) {
					c.Read(make([]byte, 100))
					c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // an abort would come at once
					_, err := c.Read(make([]byte, 100))
					ended <- err
					io.WriteString(c, "the answer")
				},
			}
			ctx, stop := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- srv.Serve(ctx, l) }()
			client := newTrial(t)
			client.stdin = strings.NewReader("a question\n")
			client.start("dial", "--keep-open", "--codec", framing, "--transport", transport, "--tls="+fmt.Sprint(conf != nil), "--insecure="+fmt.Sprint(conf != nil), l.Addr().String())
			if status := client.wait(); status != 0 || client.stdout.String() != "the answer" {
				t.Fatalf("%s, %s: exit status %d, %q, %s", transport, framing, status, client.stdout, client.stderr)
			}
			stop()
			<-served
			if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, %s: the server reads %v", transport, framing, err)
			}
		}
	}
}

// Dial closes the connection to a silent server, by --timeout or by unanswered beats.
func TestDialJudgesTheServer(t *testing.T) {
	t.Parallel()
	for flags, greet := range map[string]bool{"--codec raw --timeout 300ms": false, "--beat 100ms": true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- fallSilent(l, greet) }()
		client := newTrial(t)
		stdin, w := io.Pipe()
		client.stdin = stdin
		client.start(append(append([]string{"dial"}, strings.Fields(flags)...), l.Addr().String())...)
		if status := client.wait(); status != statusDeadline || !strings.HasPrefix(client.stderr.String(), "closed: silent after ") {
			t.Errorf("%s: exit status %d: %s", flags, status, client.stderr)
		}
		w.Close()
		l.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// An unknown reason is not a normal end.
func TestDialUnknownReasonIsAFailure(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- sendAwayFor(l, 100, "quota") }()
	client := newTrial(t)
	client.start("dial", l.Addr().String())
	if status := client.wait(); status != statusLost || !strings.Contains(client.stderr.String(), "code 100: quota\n") {
		t.Errorf("exit status %d: %s", status, client.stderr)
	}
	l.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// sendAwayFor accepts, reads, and closes with this code and text.
func sendAwayFor(l net.Listener, code uint64, text string) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	coder := codec.Frame.Server(codec.Hello{})
	for buf, ended := make([]byte, 256), false; !ended; {
		n, err := conn.Read(buf[coder.Headroom():])
		if err != nil {
			return err
		}
		_, seen, err := coder.Decode(buf, n)
		if err != nil {
			return err
		}
		if _, err := conn.Write(coder.AppendPending(nil)); err != nil {
			return err
		}
		ended = seen.End
	}
	bye, _ := coder.AppendClose(nil, code, text)
	_, err = conn.Write(bye)
	return err
}

// --insecure=false verifies the server.
func TestDialInsecureFalse(t *testing.T) {
	t.Parallel()
	for _, no := range []string{"0", "f", "FALSE"} {
		cmd, stderr := spawnWith(t, map[string]string{"LIVENET_DIAL_INSECURE": no}, "dial", "127.0.0.1:1")
		text := ""
		for stderr.Scan() {
			text += stderr.Text()
		}
		if status := exitStatus(cmd.Wait()); status != statusFailed || !strings.Contains(text, "connection refused") {
			t.Errorf("%s: exit status %d: %s", no, status, text)
		}
	}
}

// fallSilent accepts, sends a Hello if greet is set, and then nothing.
func fallSilent(l net.Listener, greet bool) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	if greet {
		// A server with a fixed deadline, for instance, requests no beats.
		coder := codec.Frame.Server(codec.Hello{})
		buf := make([]byte, 64)
		for !coder.Pending() {
			n, err := conn.Read(buf)
			if err != nil {
				return err
			}
			if _, _, err := coder.Decode(buf, n); err != nil {
				return err
			}
		}
		if _, err := conn.Write(coder.AppendPending(nil)); err != nil {
			return err
		}
	}
	io.Copy(io.Discard, conn)
	return nil
}

// Rule 9: dial's policy decides about the server, by its bytes or, without beats, by its
// kernel's acknowledgements. The lower layers' timeouts are longer.
func TestRule9DialsLowerLayersHaveLongerTimeouts(t *testing.T) {
	for _, test := range []struct {
		o      dialOptions
		judges bool
	}{
		{dialOptions{codec: "line", beat: time.Second, timeout: time.Second}, true},
		{dialOptions{codec: "frame"}, true},
		{dialOptions{codec: "frame", noBeat: true}, false},
		{dialOptions{codec: "frame", noBeat: true, timeout: time.Second}, true},
		{dialOptions{codec: "line"}, false},
		{dialOptions{codec: "raw"}, false},
		{dialOptions{codec: "raw", timeout: time.Second}, true},
	} {
		test.o.transport = "tcp"
		l := test.o.limits()
		if test.o.judges() != test.judges || l.KeepAlive || (l.PingInterval > 0) == test.judges || (test.o.client().Evidence == codec.Acks) == test.judges {
			t.Errorf("%+v: judges %v, %+v", test.o, test.o.judges(), l)
		}
	}
	// After the last line no beat can be sent, so the kernel's keepalive has to notice a dead
	// server, but not before the policy would.
	lines := dialOptions{codec: "line", transport: "tcp", beat: time.Minute}
	if l := lines.limits(); !l.KeepAlive || l.KeepAliveIdle != 3*time.Minute || l.IdleTimeout <= 3*time.Minute {
		t.Errorf("%+v: %+v", lines, l)
	}
}

// With --no-beat dial does not probe either, since a probe is a beat.
func TestDialNoBeatSendsNoProbe(t *testing.T) {
	for name, o := range map[string]dialOptions{
		"asks":             {codec: "frame", timeout: time.Second},
		"no beats":         {codec: "frame", timeout: time.Second, noBeat: true},
		"a server of line": {codec: "line", timeout: time.Second},
	} {
		asks := strings.Contains(fmt.Sprint(o.client().Policy), "probing")
		if asks != (name == "asks") {
			t.Errorf("%s: %v", name, o.client().Policy)
		}
	}
}

// A signal closes the connection in order, and the status is 0.
func TestDialInterrupted(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"tcp", "quic", "yamux"} {
		server := serveJSON(t, "--transport", transport, "--listen", "127.0.0.1:0")
		client := newTrial(t)
		client.env = server.env
		stdin, w := io.Pipe()
		client.stdin = stdin
		client.start("dial", "--transport", transport, server.addr(transport))
		io.WriteString(w, "hello")
		client.stdout.await(t, func(text string) bool { return text == "hello" })
		client.cancel()
		if status := client.wait(); status != 0 || client.stderr.String() != "" {
			t.Errorf("%s: exit status %d: %s", transport, status, client.stderr)
		}
		if l := server.event(1, line{"msg": "closed", "kind": "session"}); l.text("reason") != "done" || l.text("initiator") != "peer" {
			t.Errorf("%s: %v", transport, l)
		}
		w.Close()
	}
}

func TestDialVerbose(t *testing.T) {
	t.Parallel()
	server := serveJSON(t, "--timeout", "9s", "--listen", "127.0.0.1:0")
	client := newTrial(t)
	client.stdin = strings.NewReader("hello")
	client.start("dial", "-v", server.addr("tcp"))
	if status := client.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	want := fmt.Sprintf("livenet dial: connected to tcp %s: it allows 9.0s of silence and wants a beat every 3.0s\nclosed: done after ", server.addr("tcp"))
	if got := client.stderr.String(); !strings.HasPrefix(got, want) {
		t.Errorf("\n got %swant %s", got, want)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no room left") }
func (broken) Read([]byte) (int, error)  { return 0, errors.New("nothing to be had") }

func TestDialStdioFails(t *testing.T) {
	t.Parallel()
	server := serveJSON(t, "--listen", "127.0.0.1:0")
	o := dialOptions{address: server.addr("tcp"), transport: "tcp", codec: "frame", connectTimeout: soon}
	for want, p := range map[string]*process{
		"can't write: no room left":     {stdin: strings.NewReader("hello"), stdout: broken{}},
		"can't read: nothing to be had": {stdin: broken{}, stdout: io.Discard},
	} {
		p.stderr = io.Discard
		if err := dial(t.Context(), p, o); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Every reason has an exit status, which is 0 only for the normal end.
func TestDialStatuses(t *testing.T) {
	for reason, want := range map[liveness.Reason]int{
		liveness.Done:          0,
		liveness.FixedDeadline: 3, liveness.Silent: 3, liveness.Aged: 3, liveness.NoHello: 3,
		liveness.Draining: 4, liveness.Kicked: 4, liveness.Overload: 4, liveness.Superseded: 4,
		liveness.PeerClosed: 5, liveness.PeerReset: 5, liveness.TransportLost: 5,
		liveness.ProtocolError: 6, liveness.TooLarge: 6, liveness.TooSlow: 6, liveness.TooManyBeats: 6, liveness.Internal: 6,
	} {
		if got := statusOf(&liveness.Error{Reason: reason}, false); got != want {
			t.Errorf("%v: %d, want %d", reason, got, want)
		}
	}
	if got := statusOf(&liveness.Error{Reason: liveness.PeerClosed}, true); got != 0 {
		t.Errorf("peer-closed after we had finished: %d, want 0", got)
	}
}
