// Package token makes and checks the JSON Web Tokens (RFC 7519) that say who a
// user is: the deployment's own, signed with Ed25519 keys, those that another
// back end makes with a secret it shares with the deployment (HS256), and those
// of issuers who publish their keys (RS256, ES256, EdDSA).
//
// It owns the form of tokens, of keys at rest (PKCS #8, JWK) and of the key
// set that is published (RFC 7517, RFC 8037). It does not know where keys are
// kept, who may sign in, and which tokens were revoked: those are the auth
// service's.
package token
