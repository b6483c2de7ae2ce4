// Package access says who calls a gRPC API, and what they may.
//
// A [Caller] has scopes; which one a method needs stands in its contract
// (proto/access/v1), the only place where it does. [Credentials] tell the
// caller by what a call came with: a token, a certificate, or that it was made
// in this process.
//
// A service whose answer depends on more than the method asks the call's
// context: [From](ctx).May(…). The package does not know any service, and
// nothing of users, who never call these APIs: what they may is checked for the
// actor that a gateway names.
package access
