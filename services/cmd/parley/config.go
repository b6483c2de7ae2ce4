package main

import (
	"context"
	"errors"
	"fmt"
)

const aboutConfig = `parley config: Shows what parley serve would run with, and checks it.

Usage: parley config [show|check] [flags]

  parley config                        the settings in force, as a YAML file, secrets masked
  parley config > parley.yaml          a file to change, for parley serve --config parley.yaml
  parley config check --config FILE    says "configuration ok", or what is wrong, a line each, and exits with 1

Settings come from flags, environment variables and the file, as with parley serve; parley serve --help lists them. The other
programs (gateway, auth, …) do the same with --print-config and --check-config.
`

// showConfig is parley serve that only looks at its settings.
func showConfig(ctx context.Context, args []string) error {
	what := "--print-config"
	if len(args) > 0 {
		switch args[0] {
		case "-h", "--help", "help":
			fmt.Print(aboutConfig)
			return nil
		case "show":
			args = args[1:]
		case "check":
			what, args = "--check-config", args[1:]
		default:
			if args[0] == "" || args[0][0] != '-' {
				return errors.New("config: want show or check; parley config --help explains")
			}
		}
	}
	return serve(ctx, append([]string{what}, args...))
}
