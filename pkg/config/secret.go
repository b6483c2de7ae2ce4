package config

import "github.com/parley-im/parley/pkg/secret"

// mask stands for a secret wherever one would be written.
const mask = secret.Mask

// A Secret is a text that does not show itself.
type Secret = secret.Text
