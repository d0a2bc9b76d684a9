package devtls

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// handshake returns the client's error of a handshake with a server of this identity.
func handshake(t *testing.T, i *Identity, client *tls.Config) error {
	t.Helper()
	return connect(t, &tls.Config{Certificates: []tls.Certificate{i.Certificate}}, client)
}

func connect(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	a, b := relayed()
	defer a.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer b.Close()
		s := tls.Server(b, server)
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

// relayed returns a pair of connections with buffers, so that both ends can write at once, as
// when a client sends an alert in the middle of a handshake.
func relayed() (a, b net.Conn) {
	a, c := net.Pipe()
	b, d := net.Pipe()
	relay := func(to, from net.Conn) {
		io.Copy(to, from)
		to.Close()
	}
	go relay(c, d)
	go relay(d, c)
	return a, b
}

// trust returns the config of a client on this machine that dials host.
func trust(t *testing.T, s Store, host string) *tls.Config {
	t.Helper()
	conf, err := s.ClientConfig(host)
	if err != nil {
		t.Fatal(err)
	}
	conf.ServerName = host // as the transports set it
	return conf
}

func TestMadeOnceAndTrusted(t *testing.T) {
	s := newStore(t)
	before := trust(t, s, "localhost")
	first := identity(t, s)
	if !first.Made {
		t.Error("the first identity was not made")
	}
	second := identity(t, s)
	if second.Made || !first.Certificate.Leaf.Equal(second.Certificate.Leaf) || first.Pin() != second.Pin() {
		t.Error("the second identity is not the first")
	}
	host, _ := os.Hostname()
	for _, name := range []string{"localhost", "127.0.0.1", "127.9.9.9", "::1", host} {
		if err := handshake(t, second, trust(t, s, name)); err != nil {
			t.Errorf("as %s: %v", name, err)
		}
	}
	_, unknown := errors.AsType[x509.UnknownAuthorityError](handshake(t, second, before))
	if !unknown {
		t.Error("it is trusted by who does not know it")
	}
	stranger := newStore(t)
	identity(t, stranger)
	_, unknown = errors.AsType[x509.UnknownAuthorityError](handshake(t, second, trust(t, stranger, "localhost")))
	if !unknown {
		t.Error("it is trusted by who knows another one")
	}
}

// A client may use the certificate as an authority. Then it verifies only itself, by its names.
func TestCertificateCantSignOthers(t *testing.T) {
	s := newStore(t)
	i := identity(t, s)
	text, err := os.ReadFile(s.file(certFile))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatal("not PEM")
	}
	for name, want := range map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true, "example.net": false} {
		if err := handshake(t, i, &tls.Config{RootCAs: roots, ServerName: name}); (err == nil) != want {
			t.Errorf("as %s: %v", name, err)
		}
	}
	leaf := template(time.Now())
	leaf.DNSNames, leaf.SerialNumber = []string{"example.net"}, big.NewInt(1)
	der, err := x509.CreateCertificate(rand.Reader, leaf, i.Certificate.Leaf, i.Certificate.Leaf.PublicKey, i.Certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	forged := &Identity{Certificate: tls.Certificate{Certificate: [][]byte{der, i.Certificate.Leaf.Raw}, PrivateKey: i.Certificate.PrivateKey}}
	if err := handshake(t, forged, &tls.Config{RootCAs: roots, ServerName: "example.net"}); err == nil {
		t.Error("it signs for others")
	}
	if c := i.Certificate.Leaf; c.IsCA || c.NotAfter.Sub(c.NotBefore) > 15*day {
		t.Errorf("an authority: %v; good from %v to %v", c.IsCA, c.NotBefore, c.NotAfter)
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
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d files, want 2; %v", len(entries), err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

// Several processes that start at once all use the same key.
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
		if err := handshake(t, all[i], trust(t, s, "localhost")); err != nil {
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("%d say that they made it", made)
	}
}

// A certificate that is due, or not self-signed, is replaced by one with the same key, so that
// pins stay valid.
func TestRenewedAtTheStart(t *testing.T) {
	s := newStore(t)
	first := identity(t, s)
	key := first.Certificate.PrivateKey.(crypto.Signer)
	for what, change := range map[string]func(*x509.Certificate){
		"due":     func(c *x509.Certificate) { c.NotAfter = time.Now().Add(renewal - time.Hour) },
		"expired": func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
		"early":   func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) },
	} {
		old := template(time.Now())
		change(old)
		cert, err := selfSign(old, key)
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, cert)
		renewed := identity(t, s)
		if renewed.Certificate.Leaf.Equal(cert.Leaf) {
			t.Errorf("%s: not renewed", what)
		}
		if renewed.Pin() != first.Pin() {
			t.Errorf("%s: the pin has changed", what)
		}
		if err := handshake(t, renewed, trust(t, s, "localhost")); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	authority, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	c := template(time.Now())
	c.SerialNumber = big.NewInt(1)
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), authority)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, tls.Certificate{PrivateKey: key, Leaf: signed})
	if identity(t, s).Certificate.Leaf.Equal(signed) {
		t.Error("signed by an authority: not renewed")
	}
}

// put writes the files of an earlier process.
func put(t *testing.T, s Store, pair tls.Certificate) {
	t.Helper()
	cert, key, err := encode(pair)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replace(s.file(keyFile), append(cert, key...)); err != nil {
		t.Fatal(err)
	}
}

// Running servers renew the certificate, one for all of them, and clients that started earlier
// still trust it.
func TestRenewedWhileRunning(t *testing.T) {
	s := newStore(t)
	synctest.Test(t, func(t *testing.T) {
		var servers [2]*tls.Config
		for i := range servers {
			servers[i] = &tls.Config{GetCertificate: s.Renewing(identity(t, s))}
		}
		early := trust(t, s, "localhost")
		shown := func(conf *tls.Config) *x509.Certificate {
			cert, err := conf.GetCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			return cert.Leaf
		}
		first := shown(servers[0])
		time.Sleep(lifetime - renewal - time.Second)
		if !shown(servers[0]).Equal(first) {
			t.Error("renewed before it was due")
		}
		for range 10 {
			time.Sleep(renewal - day)
			for _, conf := range servers {
				if err := connect(t, conf, early); err != nil {
					t.Error(err)
				}
			}
			if c := shown(servers[0]); !c.Equal(shown(servers[1])) || time.Until(c.NotAfter) < renewal-day {
				t.Errorf("at %v they show one that ends at %v", time.Now(), c.NotAfter)
			}
		}
		if err := connect(t, servers[0], trust(t, s, "localhost")); err != nil {
			t.Error(err)
		}
	})
}

// If renewing fails, the old certificate is used, and renewed as soon as possible.
func TestRenewalIsRetried(t *testing.T) {
	s := newStore(t)
	synctest.Test(t, func(t *testing.T) {
		conf := &tls.Config{GetCertificate: s.Renewing(identity(t, s))}
		good, err := os.ReadFile(s.file(keyFile))
		if err != nil {
			t.Fatal(err)
		}
		client := trust(t, s, "localhost")
		time.Sleep(lifetime - day)
		if err := os.WriteFile(s.file(keyFile), []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := connect(t, conf, client); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(s.file(keyFile), good, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if cert, err := conf.GetCertificate(nil); err != nil || time.Until(cert.Leaf.NotAfter) < renewal {
			t.Errorf("not renewed: %v", err)
		}
	})
}

// A certificate that has expired is not trusted, whatever its key.
func TestExpired(t *testing.T) {
	s := newStore(t)
	synctest.Test(t, func(t *testing.T) {
		i := identity(t, s)
		client := trust(t, s, "localhost")
		time.Sleep(lifetime - time.Second)
		if err := handshake(t, i, client); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		if err := handshake(t, i, client); err == nil {
			t.Error("an expired certificate is trusted")
		}
		if err := handshake(t, i, i.Pin().Config()); err != nil {
			t.Errorf("by its pin: %v", err) // a pin ignores dates
		}
	})
}

func TestDamaged(t *testing.T) {
	for _, content := range []string{"", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		s := newStore(t)
		identity(t, s)
		if err := os.WriteFile(s.file(keyFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, server := s.Identity()
		_, client := s.ClientConfig("localhost")
		for _, err := range []error{server, client} {
			if err == nil || !strings.Contains(err.Error(), s.file(keyFile)+" is damaged") {
				t.Errorf("%q: %v", content, err)
			}
		}
	}
	t.Run("a certificate of another key", func(t *testing.T) {
		s, other := newStore(t), newStore(t)
		_, key, err := encode(identity(t, s).Certificate)
		if err != nil {
			t.Fatal(err)
		}
		cert, _, err := encode(identity(t, other).Certificate)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.file(keyFile), append(key, cert...), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Identity(); err == nil || !strings.Contains(err.Error(), "is damaged") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the certificate by itself", func(t *testing.T) { // only other programs read it
		s := newStore(t)
		first := identity(t, s)
		if err := os.Remove(s.file(certFile)); err != nil {
			t.Fatal(err)
		}
		if identity(t, s).Pin() != first.Pin() {
			t.Error("a new one was made")
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

// once does not replace a file that another process makes at the same time.
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

// The files contain only PEM, so that other tools can read them.
func TestFilesArePEM(t *testing.T) {
	s := newStore(t)
	identity(t, s)
	if _, err := tls.LoadX509KeyPair(s.file(certFile), s.file(keyFile)); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(s.file(certFile))
	if err != nil || !bytes.HasPrefix(text, []byte("-----BEGIN CERTIFICATE-----\n")) {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.ReadFile(s.file("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A reset key belongs to its address, stays the same, and only the user can read it.
func TestResetKey(t *testing.T) {
	file := newStore(t).ResetKeyFile()
	key, err := ResetKey(file, "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := ResetKey(file, "127.0.0.1:1")
	if again != key || err != nil {
		t.Errorf("again: %x, %v, and not %x", again, err, key)
	}
	if other, err := ResetKey(file, "127.0.0.1:2"); other == key || err != nil {
		t.Errorf("two addresses share a key: %v", err)
	}
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ResetKey(file, ""); err == nil || !strings.Contains(err.Error(), "is no reset key") {
		t.Errorf("a short one: %v", err)
	}
}
