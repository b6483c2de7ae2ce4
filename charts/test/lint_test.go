package test

import (
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
)

// TestLint is helm lint --strict, for every file of the matrix and the oldest
// and the newest Kubernetes.
func TestLint(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(chartDir, "ci", "*-values.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal("the matrix is missing", err)
	}
	for _, file := range files {
		for _, kube := range []string{oldest, newest} {
			t.Run(strings.TrimSuffix(filepath.Base(file), "-values.yaml")+" "+kube, func(t *testing.T) {
				version, err := common.ParseKubeVersion(kube)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range lint.RunAll(chartDir, readValues(t, file), namespace, lint.WithKubeVersion(version)).Messages {
					if m.Severity >= support.WarningSev {
						t.Error(m)
					}
				}
			})
		}
	}
}
