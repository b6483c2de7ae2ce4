package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// writeHelp writes the help text, 100 columns wide at most.
func (s *Set) writeHelp(out io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s\n\nUsage: %[1]s [flags]", s.program, s.about)
	if s.operands != nil {
		b.WriteString(" " + s.operandsUsage)
	}
	b.WriteString("\n\n")
	wrap(&b, 0, "A setting is given as a flag, as an environment variable or in a YAML file (http-addr: \":8080\"). "+
		"A flag wins over the environment, the environment over the file, the file over the default.")

	section := ""
	for i, t := range s.settings {
		if t.fileFor != nil {
			continue // shown with its secret
		}
		if i == 0 || t.section != section {
			section = t.section
			fmt.Fprintf(&b, "\n%s\n", or(section, "Settings"))
		}
		flag := "--" + t.name + " " + t.value.hint()
		if isBool(t.value) {
			flag = "--" + t.name + "[=false]"
		}
		names := flag + ", " + env(t.name)
		if utf8.RuneCountInString(names) > width-2 {
			names = flag + ",\n  " + env(t.name)
		}
		fmt.Fprintf(&b, "  %s\n", names)
		text := t.help
		switch {
		case t.required && t.initial == "":
			text += " (required)"
		case t.secret:
		case t.initial == "":
			text += " (default: none)"
		default:
			text += " (default: " + t.initial + ")"
		}
		if t.secret {
			text += "; --" + t.fileFrom.name + " or " + env(t.fileFrom.name) + " names a file that holds it"
		}
		wrap(&b, 6, text)
	}

	b.WriteString("\nThis program\n")
	for _, f := range [][2]string{
		{"--config file, " + env("config"), "YAML file to read settings from"},
		{"--check-config", "check the configuration, say \"configuration ok\" and stop"},
		{"--print-config", "write the configuration in force as a YAML file, secrets masked, and stop"},
		{"--version", "write the version and stop"},
		{"-h, --help", "write this text and stop"},
	} {
		fmt.Fprintf(&b, "  %s\n", f[0])
		wrap(&b, 6, f[1])
	}
	_, err := out.Write(b.Bytes())
	return err
}

// width of the help text in columns.
const width = 100

// wrap writes text in lines that begin with indent spaces and end within the width.
func wrap(b *bytes.Buffer, indent int, text string) {
	column := 0
	for word := range strings.FieldsSeq(text) {
		length := utf8.RuneCountInString(word)
		switch {
		case column == 0:
			b.WriteString(strings.Repeat(" ", indent))
			column = indent
		case column+1+length > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += length
	}
	b.WriteByte('\n')
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
