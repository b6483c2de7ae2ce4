package test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const (
	chartDir  = "../parley"
	release   = "demo"
	namespace = "chat"
	// newest is the Kubernetes whose API server judges here; oldest is
	// Chart.yaml's.
	newest, oldest = "v1.36.0", "v1.31.0"
)

// An object is one of those that a configuration renders to.
type object struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	text              []byte // YAML
	template          string
}

func (o object) String() string { return o.Kind + "/" + o.Name }

// A rendered configuration.
type rendered struct {
	values  map[string]any // those of the file, without defaults
	objects []object
	notes   string
}

func loadChart(t testing.TB) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render does what helm template does.
func render(c *chart.Chart, values map[string]any, kube string) (*rendered, error) {
	version, err := common.ParseKubeVersion(kube)
	if err != nil {
		return nil, err
	}
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	top, err := util.ToRenderValues(c, values, common.ReleaseOptions{
		Name: release, Namespace: namespace, Revision: 1, IsInstall: true,
	}, capabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, top)
	if err != nil {
		return nil, err
	}
	r := &rendered{values: values}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := files[name]
		switch {
		case strings.HasSuffix(name, "NOTES.txt"):
			r.notes = text
			continue
		case strings.HasPrefix(filepath.Base(name), "_"):
			continue
		}
		documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
		for {
			document, err := documents.Read()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			o := object{text: document, template: name}
			if err := yaml.Unmarshal(document, &o); err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", name, err, document)
			}
			if o.Kind == "" {
				if nothing(document) {
					continue
				}
				return nil, fmt.Errorf("%s: a document without a kind:\n%s", name, document)
			}
			r.objects = append(r.objects, o)
		}
	}
	return r, nil
}

// nothing says whether a document holds comments at most.
func nothing(document []byte) bool {
	var value any
	return yaml.Unmarshal(document, &value) == nil && value == nil
}

// matrix runs f for every configuration of the chart's ci folder.
func matrix(t *testing.T, f func(t *testing.T, r *rendered)) {
	t.Helper()
	c := loadChart(t)
	files, err := filepath.Glob(filepath.Join(chartDir, "ci", "*-values.yaml"))
	if err != nil || len(files) < 6 {
		t.Fatal("the matrix is missing", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), "-values.yaml"), func(t *testing.T) {
			r, err := render(c, readValues(t, file), newest)
			if err != nil {
				t.Fatal(err)
			}
			f(t, r)
		})
	}
}

func readValues(t testing.TB, file string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parseValues(t, string(text))
}

func parseValues(t testing.TB, text string) map[string]any {
	t.Helper()
	values := make(map[string]any)
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// all gives the objects of one kind, as T.
func all[T any](t testing.TB, r *rendered, kind string) []*T {
	t.Helper()
	var list []*T
	for _, o := range r.objects {
		if o.Kind == kind {
			v := new(T)
			if err := yaml.Unmarshal(o.text, v); err != nil {
				t.Fatalf("%v: %v", o, err)
			}
			list = append(list, v)
		}
	}
	return list
}

// reading renders one configuration of the text of its values.
func reading(t testing.TB, values string) *rendered {
	t.Helper()
	r, err := render(loadChart(t), parseValues(t, values), newest)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// find gives the object of a kind and name.
func find[T any](t testing.TB, r *rendered, kind, name string) *T {
	t.Helper()
	for _, o := range r.objects {
		if o.Kind == kind && o.Name == name {
			v := new(T)
			if err := yaml.Unmarshal(o.text, v); err != nil {
				t.Fatalf("%v: %v", o, err)
			}
			return v
		}
	}
	t.Fatalf("there is no %s/%s", kind, name)
	return nil
}
