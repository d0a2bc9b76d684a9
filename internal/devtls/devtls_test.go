package devtls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func newStore(t *testing.T) Store { return Store{Dir: filepath.Join(t.TempDir(), "data", "livenet")} }

func identity(t *testing.T, s Store) *Identity {
	t.Helper()
	i, err := s.Identity()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// A certificate can't hold just any name that a machine may have.
func TestNamesOfAMachine(t *testing.T) {
	for host, want := range map[string]int{"": 1, "localhost": 1, "here": 2, "zürich": 1} {
		names := namesOf(host)
		if len(names) != want {
			t.Errorf("%q: %q", host, names)
		}
		k, err := newKey()
		if err != nil {
			t.Fatal(err)
		}
		template := machineTemplate(time.Now(), names)
		if _, err := sign(template, template, k, k); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
}

// handshake is what a client finds when it dials a server with this identity.
func handshake(t *testing.T, i *Identity, client *tls.Config) error {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer b.Close()
		s := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{i.Certificate}})
		if s.Handshake() == nil {
			s.Write([]byte{1})
		}
	}()
	c := tls.Client(a, client)
	err := c.Handshake()
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	a.Close()
	<-served
	return err
}

func TestMadeOnceAndTrusted(t *testing.T) {
	s := newStore(t)
	roots := x509.NewCertPool()
	if found, err := s.Roots(roots); found || err != nil {
		t.Fatalf("roots before there is an authority: %v, %v", found, err)
	}
	first := identity(t, s)
	if !first.Made {
		t.Error("the first identity was not made")
	}
	second := identity(t, s)
	if second.Made || !first.Certificate.Leaf.Equal(second.Certificate.Leaf) || first.Pin() != second.Pin() {
		t.Error("the second identity is not the first")
	}
	if found, err := s.Roots(roots); !found || err != nil {
		t.Fatalf("roots: %v, %v", found, err)
	}
	host, _ := os.Hostname()
	for _, name := range []string{"localhost", "127.0.0.1", "::1", host} {
		if err := handshake(t, second, &tls.Config{RootCAs: roots, ServerName: name}); err != nil {
			t.Errorf("as %s: %v", name, err)
		}
	}
	if err := handshake(t, second, &tls.Config{RootCAs: roots, ServerName: "example.net"}); err == nil {
		t.Error("it is taken for example.net")
	}
	if err := handshake(t, second, &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}); err == nil {
		t.Error("it is trusted without its authority")
	}
}

func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("windows has no such modes")
	}
	s := newStore(t)
	identity(t, s)
	if info, err := os.Stat(s.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil || len(entries) != 4 {
		t.Fatalf("%d files, want 4; %v", len(entries), err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

// Many who start at once must all show what clients trust.
func TestMadeByManyAtOnce(t *testing.T) {
	s := newStore(t)
	const many = 32
	var all [many]*Identity
	var errs [many]error
	var starting sync.WaitGroup
	start := make(chan struct{})
	for i := range many {
		starting.Go(func() {
			<-start
			all[i], errs[i] = s.Identity()
		})
	}
	close(start)
	starting.Wait()
	roots := x509.NewCertPool()
	if found, err := s.Roots(roots); !found || err != nil {
		t.Fatal(found, err)
	}
	made := 0
	for i := range many {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if all[i].Made {
			made++
		}
		if all[i].Pin() != all[0].Pin() {
			t.Error("two have different keys")
		}
		if err := handshake(t, all[i], &tls.Config{RootCAs: roots, ServerName: "localhost"}); err != nil {
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("%d say that they made it", made)
	}
}

// A certificate that is about to expire, or is for another name, is made anew
// for the same key, so that pins and the clients that trust the authority are
// not disturbed.
func TestRenewed(t *testing.T) {
	s := newStore(t)
	first := identity(t, s)
	ca, err := s.authority()
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := s.key(machineKey)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	for what, change := range map[string]func(*x509.Certificate){
		"about to expire": func(c *x509.Certificate) { c.NotAfter = time.Now().Add(machineRenew - time.Hour) },
		"expired":         func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
		"another name":    func(c *x509.Certificate) { c.DNSNames = []string{"localhost", "other"} },
	} {
		old := machineTemplate(time.Now(), machineNames())
		change(old)
		cert, err := sign(old, ca.cert, key, ca.key)
		if err != nil {
			t.Fatal(err)
		}
		if err := replace(s.file(machineCert), encodeCertificate(cert)); err != nil {
			t.Fatal(err)
		}
		renewed := identity(t, s)
		if renewed.Certificate.Leaf.Equal(cert) {
			t.Errorf("%s: not renewed", what)
		}
		if renewed.Pin() != first.Pin() {
			t.Errorf("%s: the pin has changed", what)
		}
		if err := handshake(t, renewed, &tls.Config{RootCAs: roots, ServerName: "localhost"}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}

	// The authority, too: and what it signed before stays good.
	old := authorityTemplate(time.Now())
	old.NotAfter = time.Now().Add(authorityRenew - time.Hour)
	cert, err := sign(old, old, ca.key, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := replace(s.file(authorityCert), encodeCertificate(cert)); err != nil {
		t.Fatal(err)
	}
	before := identity(t, s)
	roots = x509.NewCertPool()
	if _, err := s.Roots(roots); err != nil {
		t.Fatal(err)
	}
	if before.Authority.Equal(cert) {
		t.Error("the authority was not renewed")
	}
	if err := handshake(t, before, &tls.Config{RootCAs: roots, ServerName: "localhost"}); err != nil {
		t.Error(err)
	}
}

func TestDamaged(t *testing.T) {
	for _, name := range []string{authorityKey, authorityCert, machineKey, machineCert} {
		for _, content := range []string{"", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
			s := newStore(t)
			identity(t, s)
			if err := os.WriteFile(s.file(name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := s.Identity()
			if err == nil || !strings.Contains(err.Error(), s.file(name)+" is damaged") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	t.Run("a certificate of another key", func(t *testing.T) {
		s, other := newStore(t), newStore(t)
		identity(t, s)
		identity(t, other)
		text, err := os.ReadFile(other.file(machineKey))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.file(machineKey), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Identity(); err == nil || !strings.Contains(err.Error(), "of another key") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("roots", func(t *testing.T) {
		s := newStore(t)
		identity(t, s)
		if err := os.WriteFile(s.Authority(), []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Roots(x509.NewCertPool()); err == nil || !strings.Contains(err.Error(), s.Authority()) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFolderThatCantBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Store{Dir: filepath.Join(file, "livenet")}.Identity()
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

// A file that another process is just making is not touched.
func TestOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if made, err := once(name, []byte("first")); !made || err != nil {
		t.Fatal(made, err)
	}
	if made, err := once(name, []byte("second")); made || err != nil {
		t.Fatal(made, err)
	}
	if text, err := os.ReadFile(name); string(text) != "first" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	entries, err := os.ReadDir(filepath.Dir(name))
	if len(entries) != 1 || err != nil {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestFolder(t *testing.T) {
	for _, test := range []struct{ system, env, want string }{
		{"linux", "HOME=/home/u", "/home/u/.local/share"},
		{"linux", "HOME=/home/u XDG_DATA_HOME=/data", "/data"},
		{"linux", "HOME=/home/u XDG_DATA_HOME=relative", "/home/u/.local/share"},
		{"linux", "", ""},
		{"freebsd", "HOME=/home/u", "/home/u/.local/share"},
		{"darwin", "HOME=/Users/u XDG_DATA_HOME=/data", "/Users/u/Library/Application Support"},
		{"darwin", "", ""},
		{"windows", `LocalAppData=C:\Users\u\AppData\Local HOME=/x`, `C:\Users\u\AppData\Local`},
	} {
		if runtime.GOOS == "windows" && test.system != "windows" {
			continue // paths are joined by the rules of the system that this runs on
		}
		getenv := func(name string) string {
			for _, word := range strings.Fields(test.env) {
				if k, v, _ := strings.Cut(word, "="); k == name {
					return v
				}
			}
			return ""
		}
		if got := dataHome(test.system, getenv); got != test.want {
			t.Errorf("%s with %s: %q, want %q", test.system, test.env, got, test.want)
		}
	}
	if dir, err := Folder(func(name string) string { return map[string]string{Variable: "/here"}[name] }); dir != "/here" || err != nil {
		t.Errorf("%s: %q, %v", Variable, dir, err)
	}
	if _, err := Folder(func(string) string { return "" }); err == nil {
		t.Error("a folder without a home")
	}
}

func TestPin(t *testing.T) {
	i, _, err := Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	pin, err := ParsePin(i.Pin().String())
	if err != nil || pin != i.Pin() {
		t.Fatal(pin, err)
	}
	if upper, err := ParsePin("sha256:" + strings.ToUpper(pin.String()[len("sha256:"):])); err != nil || upper != pin {
		t.Errorf("upper case: %v, %v", upper, err)
	}
	if err := handshake(t, i, pin.Config()); err != nil {
		t.Errorf("the right key: %v", err)
	}
	other, _, err := Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	_, wrong := errors.AsType[*PinError](handshake(t, other, pin.Config()))
	if !wrong {
		t.Error("a wrong key is taken for the pinned one")
	}
	for _, text := range []string{"", "sha256:", "sha256:12", "sha1:" + pin.String(), pin.String() + "00", pin.String()[7:], "sha256:" + strings.Repeat("g", 64)} {
		if _, err := ParsePin(text); err == nil {
			t.Errorf("ParsePin(%q) is no error", text)
		}
	}
}

func TestEphemeralIsTrustedByItsRootsOnly(t *testing.T) {
	i, roots, err := Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, i, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}); err != nil {
		t.Error(err)
	}
	_, others, err := Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, i, &tls.Config{RootCAs: others, ServerName: "127.0.0.1"}); err == nil {
		t.Error("it is trusted by another's roots")
	}
}

// What is on disk is what other tools read: PEM, and nothing else.
func TestFilesArePEM(t *testing.T) {
	s := newStore(t)
	identity(t, s)
	if _, err := tls.LoadX509KeyPair(s.file(machineCert), s.file(machineKey)); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(s.Authority())
	if err != nil || !bytes.HasPrefix(text, []byte("-----BEGIN CERTIFICATE-----\n")) {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.ReadFile(s.file("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
