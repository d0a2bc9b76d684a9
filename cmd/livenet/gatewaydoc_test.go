//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The commands of docs/gateway.md, in their order, do what it says. A command in the
// background is one that serves, and a comment is what the others print.
func TestGatewayDocument(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "redis-server", "redis-cli"} {
		need(t, program)
	}
	text, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	bin, home := t.TempDir(), t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\n%s=1 exec %q \"$@\"\n", asMain, self)
	if err := os.WriteFile(filepath.Join(bin, "livenet"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	sshd := startSSHD(t, bin)
	ports := map[string]string{"22": sshd}
	free := func(port string) string {
		if ports[port] == "" {
			ports[port] = freePort(t)
		}
		return ports[port]
	}
	ran := 0
	for _, m := range regexp.MustCompile(`(?m)^    ((?:redis-|livenet |printf |ssh ).*)$`).FindAllStringSubmatch(string(text), -1) {
		command, want, _ := strings.Cut(m[1], " # ")
		if sshd == "" && strings.HasPrefix(command, "ssh ") {
			t.Log("sshd is not installed")
			continue
		}
		command = regexp.MustCompile(`\b(22|2222|63[78]\d|737\d)\b`).ReplaceAllStringFunc(strings.TrimSpace(command), free)
		service, background := strings.CutSuffix(command, " &")
		if background {
			command = "exec " + service
		}
		cmd := exec.Command("bash", "-c", command)
		cmd.Dir = home
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "LIVENET_DATA_DIR="+home)
		switch {
		case !background:
			out, err := cmd.CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || want == "" || !strings.Contains(got, strings.Trim(want, "() ")) && !(got == "" && want == "(nil)") {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
		case strings.HasPrefix(service, "redis-server"):
			startService(t, cmd, "eady to accept connections")
		case strings.HasPrefix(service, "livenet tunnel"):
			startService(t, cmd, "connected to ")
		default:
			startService(t, cmd, " listening ")
		}
		ran++
	}
	if ran < 10 {
		t.Errorf("it has %d commands", ran)
	}
}
