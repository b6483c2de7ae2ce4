package program

// Images have no certificates of the world's authorities, which the keys of
// identity providers are fetched with; those of the system go before.
import _ "golang.org/x/crypto/x509roots/fallback"
