// Package config reads the settings of a program from flags, from the environment and from one optional YAML file.
//
// A program registers each setting once, with a pointer to the field that holds it; the value the field has at that
// moment is the default. From the name "http-addr" follow the flag --http-addr, the environment variable
// PARLEY_HTTP_ADDR and the file's key http-addr. A flag wins over the environment, the environment over the file, the
// file over the default:
//
//	s := config.New("gateway", "holds the connections of clients")
//	s.Section("Listening")
//	s.String(&o.HTTPAddr, "http-addr", "address for sockets, the HTTP API and the demo page")
//	s.Secret(&o.JWTSecret, "jwt-secret", "key that signs HS256 tokens")
//	s.Validate(o.Validate)
//	action, err := s.Load(args, os.Environ(), os.Stdout)
//	if err != nil || action == config.Stop {
//		return err
//	}
//
// Reading is strict: what is not understood is an error that names the nearest known setting, a bad value is an error
// that says where it came from and what is accepted, and all errors are reported together. Three things keep this
// bearable for programs that share a deployment: settings of the other programs are passed over ([Set.AlsoKnown]), so
// are the variables Kubernetes makes up for a service whose name begins with "parley", and a variable or key that is
// present without a value (`PARLEY_X=`, `x:`) counts as not given. To make a text or list setting empty, use the flag
// (`--x=`) or the file (`x: ""`, `x: []`).
//
// The package owns the syntax of settings, and the masking of secrets ([Secret]). It must not know any program, any
// setting of one, or what a value means beyond its type.
package config
