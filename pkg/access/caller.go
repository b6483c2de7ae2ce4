package access

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/parley-im/parley/pkg/secret"
	accessv1 "github.com/parley-im/parley/proto/access/v1"
)

// Scope is explained in its contract; the short names are for Go.
type Scope = accessv1.Scope

// The scopes.
const (
	Service = accessv1.Scope_SCOPE_SERVICE
	Admin   = accessv1.Scope_SCOPE_ADMIN
	Publish = accessv1.Scope_SCOPE_PUBLISH
	Read    = accessv1.Scope_SCOPE_READ
	Rooms   = accessv1.Scope_SCOPE_ROOMS
	Users   = accessv1.Scope_SCOPE_USERS
)

// ScopeName is how people write a scope: "publish".
func ScopeName(s Scope) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "SCOPE_"))
}

// parseScope reads a scope that a back end or an operator may have.
func parseScope(name string) (Scope, error) {
	var names []string
	for _, s := range []Scope{Admin, Publish, Read, Rooms, Users} {
		if ScopeName(s) == name {
			return s, nil
		}
		names = append(names, ScopeName(s))
	}
	if !secret.Plain(name) {
		name = "…"
	}
	return 0, fmt.Errorf("%q is no scope: want some of %s", name, strings.Join(names, ", "))
}

// Caller is who made a call. The zero Caller is nobody and may nothing.
type Caller struct {
	// Name is what the log calls it: "shop", "admin", "service".
	Name   string
	scopes []Scope
}

var (
	// ourselves is each of Parley's services.
	ourselves = Caller{Name: "service", scopes: []Scope{Service, Admin, Publish, Read, Rooms, Users}}
	// owner is who runs Parley, and could read and change its data anyway.
	owner = backEnd("owner", []Scope{Admin})
	// everybody is who calls without credentials in development mode.
	everybody = Caller{Name: "anybody", scopes: ourselves.scopes}
)

// backEnd makes the caller of a credential; admin has every other scope that
// is not the services' own.
func backEnd(name string, scopes []Scope) Caller {
	if slices.Contains(scopes, Admin) {
		scopes = []Scope{Admin, Publish, Read, Rooms, Users}
	}
	return Caller{Name: name, scopes: scopes}
}

// May says whether the caller has a scope.
func (c Caller) May(s Scope) bool { return slices.Contains(c.scopes, s) }

// contextKey finds the caller in a call's context.
type contextKey struct{}

// With gives a context with a caller, as a server's handlers get it.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// From gives the caller of the call that ctx belongs to; nobody where there
// is none.
func From(ctx context.Context) Caller {
	c, _ := ctx.Value(contextKey{}).(Caller)
	return c
}

// InProcess is the caller of a call that was made within this process, for
// who makes one without a server.
func InProcess() Caller { return ourselves }

// Needs gives the scope that the contract of a method
// ("/parley.history.v1.History/Publish") names, and SCOPE_UNSPECIFIED, which
// nobody has, for one that names none or is unknown.
func Needs(fullMethod string) Scope {
	service, method, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return 0
	}
	s, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return 0
	}
	m := s.Methods().ByName(protoreflect.Name(method))
	if m == nil {
		return 0
	}
	scope, _ := proto.GetExtension(m.Options(), accessv1.E_Scope).(Scope)
	return scope
}
