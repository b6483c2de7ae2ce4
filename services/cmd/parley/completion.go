package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/parley-im/parley/services/cmd/internal/admin"
)

// The scripts know the commands; flags they ask each command's --help for, so that
// a new flag needs no word here.

const bashCompletion = `# bash completion for parley: source <(parley completion bash)
_parley() {
	local word=${COMP_WORDS[COMP_CWORD]} run=("${COMP_WORDS[0]}") first=1
	case ${COMP_WORDS[1]} in
	admin)
		if ((COMP_CWORD == 2)); then
			COMPREPLY=($(compgen -W "%[2]s" -- "$word"))
			return
		fi
		first=2
		;;
	completion)
		COMPREPLY=($(compgen -W "bash zsh fish" -- "$word"))
		return
		;;
	esac
	if ((COMP_CWORD == 1)); then
		COMPREPLY=($(compgen -W "%[1]s" -- "$word"))
	elif [[ $word == -* ]]; then
		run+=("${COMP_WORDS[@]:1:first}")
		COMPREPLY=($(compgen -W "$("${run[@]}" --help 2>/dev/null | sed -n 's/^  \(--[a-z0-9-]*\).*/\1/p')" -- "$word"))
	fi
}
complete -o default -F _parley parley
`

const zshCompletion = `#compdef parley
# zsh completion for parley: source <(parley completion zsh)
_parley() {
	local -a run=("${words[1]}" "${words[2]}")
	if [[ ${words[2]} == admin ]]; then
		if ((CURRENT == 3)); then
			compadd -- %[2]s
			return
		fi
		run+=("${words[3]}")
	elif [[ ${words[2]} == completion ]]; then
		compadd -- bash zsh fish
		return
	fi
	if ((CURRENT == 2)); then
		compadd -- %[1]s
	elif [[ ${words[CURRENT]} == -* ]]; then
		compadd -- ${(f)"$("${run[@]}" --help 2>/dev/null | sed -n 's/^  \(--[a-z0-9-]*\).*/\1/p')"}
	else
		_files
	fi
}
compdef _parley parley
`

const fishCompletion = `# fish completion for parley: parley completion fish | source
function __parley_flags
	set -l words (commandline -opc)
	set -l run $words[1] $words[2]
	test "$words[2]" = admin; and set -a run $words[3]
	$run --help 2>/dev/null | sed -n 's/^  \(--[a-z0-9-]*\).*/\1/p'
end
complete -c parley -n __fish_use_subcommand -f -a "%[1]s"
complete -c parley -n "__fish_seen_subcommand_from admin" -f -a "%[2]s"
complete -c parley -n "__fish_seen_subcommand_from completion" -f -a "bash zsh fish"
complete -c parley -n "not __fish_use_subcommand" -a "(__parley_flags)"
`

// completion writes a script that completes command lines of parley.
func completion(_ context.Context, args []string) error {
	scripts := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
		fmt.Print(aboutCompletion)
		return nil
	}
	if len(args) != 1 || scripts[args[0]] == "" {
		return fmt.Errorf("completion: want bash, zsh or fish; parley completion --help says what for")
	}
	var names []string
	for _, c := range commands {
		if c.about != "" {
			names = append(names, c.name)
		}
	}
	fmt.Printf(scripts[args[0]], strings.Join(names, " "), strings.Join(admin.Names(), " "))
	return nil
}

const aboutCompletion = `parley completion: Writes a script with which a shell completes commands and flags.

Usage: parley completion bash|zsh|fish

  source <(parley completion bash)                                    for this shell
  parley completion bash > /etc/bash_completion.d/parley              for all
  parley completion zsh > "${fpath[1]}/_parley"
  parley completion fish > ~/.config/fish/completions/parley.fish
`
