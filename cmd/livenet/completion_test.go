package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Bash completes commands, and flags that are not given yet, also after the address.
func TestBashCompletion(t *testing.T) {
	t.Parallel()
	bash := tool(t, "bash")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"livenet ":                              "serve dial tunnel demo completion",
		"livenet se":                            "serve",
		"livenet serve --tl":                    "--tls --tls-cert --tls-key",
		"livenet serve --tls-cert file --tls-c": "",
		"livenet dial 127.0.0.1:1 --be":         "--beat",
	} {
		script := fmt.Sprintf(`livenet() { %s=1 '%s' "$@"; }
eval "$(livenet completion bash)"
COMP_WORDS=(%s); COMP_CWORD=%d
_livenet
echo "${COMPREPLY[*]}"`, asMain, exe, strings.ReplaceAll(line+"''", "  ", " "), strings.Count(line, " "))
		out, err := exec.CommandContext(t.Context(), bash, "-c", script).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %v, %q, want %q", line, err, got, want)
		}
	}
}

// Each shell gets a script. Those of bash and zsh request completions as the library expects.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		status, script, stderr := try(t, nil, "completion", shell)
		if status != 0 || stderr != "" || strings.Contains(script, completionMark) != (shell != "fish") || strings.Contains(script, "`") {
			t.Errorf("%s: exit status %d, %s\n%s", shell, status, stderr, script)
		}
	}
	for args, want := range map[string]string{
		"":          `unknown shell "": there are bash, zsh and fish`,
		"tcsh":      `unknown shell "tcsh": there are bash, zsh and fish`,
		"bash fish": `unexpected argument "fish": want one shell`,
	} {
		status, stdout, stderr := try(t, nil, append([]string{"completion"}, strings.Fields(args)...)...)
		if status != statusUsage || stdout != "" || stderr != "livenet completion: "+want+"\n" {
			t.Errorf("%s: exit status %d, %q, %q", args, status, stdout, stderr)
		}
	}
}
