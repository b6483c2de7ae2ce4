package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// readEnvironment reads the variables that begin with PARLEY_, sorted, and the file that PARLEY_CONFIG names.
func (s *Set) readEnvironment(environ []string) (path string, found []reading, errs []error) {
	variables := map[string]string{}
	for _, entry := range environ {
		if name, text, ok := strings.Cut(entry, "="); ok && strings.HasPrefix(name, prefix) {
			variables[name] = text
		}
	}
	settings := map[string]*Setting{}
	known := []string{env("config")}
	for _, t := range s.settings {
		settings[env(t.name)] = t
		known = append(known, env(t.name))
	}
	for name := range s.known {
		known = append(known, env(name))
	}
	slices.Sort(known)

	for _, name := range slices.Sorted(maps.Keys(variables)) {
		text := variables[name]
		switch t := settings[name]; {
		case serviceLink(name, text):
		case name == env("config"):
			path = text
		case t != nil && text != "":
			found = append(found, reading{t, t.texts(text), source{byEnvironment, "environment variable " + name}})
		case !slices.Contains(known, name):
			errs = append(errs, fmt.Errorf("unknown setting %s%s", name, suggest(name, known)))
		}
	}
	return path, found, errs
}

// Kubernetes gives every container variables about the services of its namespace, in the manner of Docker's links:
// for a service "parley-nats" with port 4222, PARLEY_NATS_SERVICE_HOST, PARLEY_NATS_SERVICE_PORT,
// PARLEY_NATS_SERVICE_PORT_CLIENT, PARLEY_NATS_PORT, PARLEY_NATS_PORT_4222_TCP and more.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
var (
	linkName  = regexp.MustCompile(`^PARLEY_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	linkPort  = regexp.MustCompile(`^PARLEY_([A-Z0-9_]+_)?PORT$`)
	linkValue = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// serviceLink reports whether Kubernetes made the variable. PARLEY_X_PORT could also be a setting, ours or a
// misspelled one; its value tells.
func serviceLink(name, text string) bool {
	return linkName.MatchString(name) || linkPort.MatchString(name) && linkValue.MatchString(text)
}
