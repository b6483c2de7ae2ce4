package program

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/parley-im/parley/pkg/access"
)

// Every method of every API says who may call it; one that does not can be
// called by nobody.
func TestEveryMethodNamesItsScope(t *testing.T) {
	methods := 0
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(file.Package()), "parley.") {
			return true
		}
		services := file.Services()
		for i := range services.Len() {
			for j := range services.Get(i).Methods().Len() {
				method := services.Get(i).Methods().Get(j)
				methods++
				full := "/" + string(services.Get(i).FullName()) + "/" + string(method.Name())
				if access.Needs(full) == 0 {
					t.Errorf("%s names no scope: add `option (parley.access.v1.scope) = SCOPE_…;` to it in %s (proto/access/v1/access.proto explains them)",
						full, file.Path())
				}
			}
		}
		return true
	})
	// The list is as good as what is linked here, which is what programs serve.
	if methods < 30 {
		t.Errorf("only %d methods were looked at", methods)
	}
}
