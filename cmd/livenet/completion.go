package main

import (
	_ "embed"
	"fmt"
	"regexp"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/internal/settings"
)

// completionMark is the last argument when a shell asks for completions.
const completionMark = "--generate-bash-completion"

var (
	//go:embed completion/livenet.bash
	bashCompletion string
	//go:embed completion/livenet.zsh
	zshCompletion string
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a shell's completion script",
		ArgsUsage: "bash|zsh|fish",
		CustomHelpTemplate: `
{{bold "Examples"}}
  eval "$(livenet completion bash)"       # in ~/.bashrc
  eval "$(livenet completion zsh)"        # in ~/.zshrc, after compinit
  livenet completion fish | source        # in ~/.config/fish/config.fish
`,
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return settings.Usage("unexpected argument %q: want one shell", c.Args().Get(1))
			}
			script, err := completion(c.App, c.Args().First())
			fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}

// completion returns the completion script of a shell.
func completion(app *cli.App, shell string) (string, error) {
	switch shell {
	case "bash":
		return bashCompletion, nil
	case "zsh":
		return zshCompletion, nil
	case "fish":
		script, err := app.ToFishCompletion()
		return regexp.MustCompile("`[A-Z=]+` ").ReplaceAllString(script, ""), err // see flagTerm
	}
	return "", settings.Usage("unknown shell %q: there are bash, zsh and fish", shell)
}
