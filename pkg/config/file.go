package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/parley-im/parley/pkg/secret"
)

// readFile reads the settings in the YAML file at path; no path, no settings.
func (s *Set) readFile(path string) (found []reading, errs []error) {
	if path == "" {
		return nil, nil
	}
	root, err := parseFile(path)
	if err != nil {
		return nil, []error{fmt.Errorf("configuration file: %w", err)}
	}
	if root == nil {
		return nil, nil
	}
	known := s.Names()
	for name := range s.known {
		known = append(known, name)
	}
	slices.Sort(known)

	lines := map[string]int{} // of the keys seen
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		name, where := key.Value, path+":"+strconv.Itoa(key.Line)
		t := s.byName[name]
		switch first, twice := lines[name]; {
		case t == nil && slices.Contains(known, name): // another program's
		case t == nil:
			word, told := spelled(name), name
			if !secret.Plain(word) {
				told = "…"
			}
			errs = append(errs, fmt.Errorf("%s: unknown setting %s%s", where, told, suggest(word, known)))
		case twice:
			errs = append(errs, fmt.Errorf("%s: %s was given already in line %d", where, name, first))
		default:
			texts, given, err := nodeTexts(t, node)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", where, name, err))
			} else if given {
				found = append(found, reading{t, texts, source{byFile, where}})
			}
		}
		lines[name] = key.Line
	}
	return found, errs
}

// parseFile returns the mapping that is the file's only document, nil if the file has none.
func parseFile(path string) (*yaml.Node, error) {
	content, err := readBounded(path, 1<<20)
	if err != nil {
		return nil, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %s", path, secret.Unquoted(err))
	case len(document.Content) == 0 || document.Content[0].Tag == "!!null":
		return nil, nil
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: want one YAML document, there are more", path)
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: want lines such as \"http-addr: :8080\"", path, root.Line)
	}
	return root, nil
}

// nodeTexts returns the texts of a node: that of a scalar as it is written, whatever YAML takes it for, or those of a
// list. A null is not a value.
func nodeTexts(t *Setting, node *yaml.Node) (texts []string, given bool, err error) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch node.Kind {
	case yaml.ScalarNode:
		if node.Tag == "!!null" {
			return nil, false, nil
		}
		return t.texts(node.Value), true, nil
	case yaml.SequenceNode:
		for _, entry := range node.Content {
			if entry.Kind != yaml.ScalarNode {
				return nil, false, errors.New("want a list of plain values")
			}
			texts = append(texts, entry.Value)
		}
		return texts, true, nil
	default:
		return nil, false, errors.New("want a value, not a mapping")
	}
}
