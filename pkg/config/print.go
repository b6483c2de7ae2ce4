package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
)

// writeConfig writes the configuration in force as a YAML file, each setting with where it came from. A secret is a
// comment: the file can be loaded as it is, and a mask is never taken for a secret.
func (s *Set) writeConfig(out io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s %s: the configuration in force\n", s.program, Version())
	section := ""
	for _, t := range s.settings {
		if t.section != section {
			section = t.section
			fmt.Fprintf(&b, "\n# %s\n", section)
		}
		line, err := t.line()
		if err != nil {
			return fmt.Errorf("print configuration: %s: %w", t.name, err)
		}
		b.WriteString(line + "\n")
	}
	_, err := out.Write(b.Bytes())
	return err
}

// line writes a setting as a line of YAML.
func (t *Setting) line() (string, error) {
	switch {
	case t.secret && t.fileFrom.value.text() != "":
		return fmt.Sprintf("# %s: %q # from %s", t.name, t.value.text(), t.fileFrom.name), nil
	case t.secret && t.value.text() != "":
		return fmt.Sprintf("# %s: %q # %v", t.name, t.value.text(), t.source), nil
	case t.masked != nil && t.masked(t.value.text()):
		return fmt.Sprintf("# %s: %q # %v", t.name, mask, t.source), nil
	case t.fileFor != nil && t.value.text() == "":
		return "# " + t.name + ":", nil
	}
	node := &yaml.Node{Kind: yaml.ScalarNode, Value: t.value.text()}
	switch v := t.value.(type) {
	case *list:
		node = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, entry := range *v.p {
			node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: entry})
		}
	case *single[string], *single[Secret]:
		node.Tag = "!!str" // quoted where YAML would see something else in it
	}
	key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: t.name}
	text, err := yaml.Dump(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{key, node}}, yaml.WithLineWidth(-1))
	if err != nil {
		return "", err
	}
	line := strings.TrimSuffix(string(text), "\n")
	if strings.Contains(line, "\n") { // a text of several lines is a block, which takes no comment behind it
		return fmt.Sprintf("# %v\n%s", t.source, line), nil
	}
	return fmt.Sprintf("%s # %v", line, t.source), nil
}
