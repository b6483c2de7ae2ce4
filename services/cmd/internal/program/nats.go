package program

import (
	"errors"
	"strings"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/config"
)

// natsSettings are the settings of the connection to NATS and of the
// deployment on it.
type natsSettings struct {
	bus.Options
	password config.Secret
}

func (n *natsSettings) register(s *config.Set) { n.settings(s) }

// settings registers them and gives the address's, which a program without a
// NATS server of its own requires.
func (n *natsSettings) settings(s *config.Set) (url *config.Setting) {
	s.Section("NATS")
	url = s.String(&n.URL, "nats-url", "addresses of the NATS cluster, separated by commas, like nats://127.0.0.1:4222").
		Masked(func(text string) bool { return strings.Contains(text, "@") })
	s.String(&n.User, "nats-user", "user to sign in to NATS with")
	s.Secret(&n.password, "nats-password", "its password")
	s.String(&n.CredentialsFile, "nats-credentials", "file with a JWT and an nkey, in place of user and password")
	s.String(&n.NKeyFile, "nats-nkey", "file with an nkey seed, in place of user and password")
	s.String(&n.TLSCAFile, "nats-ca", "file with the authorities that NATS's certificate is checked against")
	s.String(&n.TLSCertFile, "nats-cert", "file with a client certificate for NATS")
	s.String(&n.TLSKeyFile, "nats-key", "file with its key")
	n.Replicas = 1
	s.Int(&n.Replicas, "replicas", "how many NATS nodes keep each record and message, 1 to 5; 3 in a cluster")
	s.Bool(&n.Synced, "nats-synced", "declare that the NATS servers force every write to disk before they acknowledge it (sync_interval: always); acks say so")
	s.Int(&n.Shards, "shards", "streams the log is spread over; 0 is what the deployment has, and for a new one 16, or 1 on the NATS inside parley serve")
	n.PublishWindow = 2 * time.Millisecond
	s.Duration(&n.PublishWindow, "publish-window", "how long a message may wait to go to the log together with others; the first after a pause goes at once")
	s.Validate(func() error {
		if n.PublishWindow < 0 || n.PublishWindow > 100*time.Millisecond {
			return errors.New("publish-window: not between 0 and 100ms")
		}
		if n.Replicas < 1 || n.Replicas > 5 {
			return errors.New("replicas: not between 1 and 5")
		}
		if n.Shards < 0 || n.Shards > 1024 {
			return errors.New("shards: not between 0 and 1024")
		}
		o := n.Options
		o.Password = n.password.Reveal()
		return o.Validate()
	})
	return url
}

func (n *natsSettings) options(name string, env *Env) bus.Options {
	o := n.Options
	o.Name = "parley-" + name
	o.Password = n.password.Reveal()
	o.NewShards = clusterShards
	o.Logger = env.Logger
	o.Meter = env.Metrics.Meter("parley/bus")
	o.Traces = env.Traces.Provider()
	return o
}

// clusterShards is what a new deployment on NATS servers of its own gets; one
// process with NATS inside gets 1.
const clusterShards = 16

// NATS registers the settings of the connection to NATS for a command that works
// on what a deployment keeps there. What it gives is complete once they are read.
func NATS(s *config.Set, name string) func() bus.Options {
	n := new(natsSettings)
	n.settings(s).Required()
	return func() bus.Options {
		o := n.Options
		o.Name, o.Password = name, n.password.Reveal()
		return o
	}
}
