package check

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Every YAML file here is one, with no key twice.
func TestYAML(t *testing.T) {
	files := 0
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		files++
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		for d, documents := yaml.NewDecoder(f), 0; ; documents++ {
			var document map[string]any
			err := d.Decode(&document)
			if errors.Is(err, io.EOF) && documents > 0 {
				return nil
			}
			if err != nil || len(document) == 0 {
				t.Errorf("%s: document %d: %v", path, documents, err)
				return nil
			}
		}
	})
	if err != nil || files < 4 {
		t.Errorf("%d files: %v", files, err)
	}
}
