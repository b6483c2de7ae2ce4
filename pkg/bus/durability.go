package bus

import "github.com/nats-io/nats.go/jetstream"

// Durability is what an acknowledgement of the log means.
type Durability struct {
	// Kept is where an acknowledged message is: "memory", which ends with the
	// NATS server, "file" on one server's disk, or "replicated" on several
	// servers. Empty while it is not known.
	Kept string
	// Synced: it was forced to the disk first, so that a power cut does not
	// take it (Options.Synced).
	Synced bool
}

// Durability tells what an acknowledgement of the log means, as its streams
// were set when LogLimits last read them.
func (b *Bus) Durability() Durability {
	if d := b.durability.Load(); d != nil {
		return *d
	}
	return Durability{}
}

func (b *Bus) noteDurability(stream jetstream.StreamConfig) {
	d := Durability{Kept: "file", Synced: b.opts.Synced}
	if stream.Storage == jetstream.MemoryStorage {
		d = Durability{Kept: "memory"}
	}
	if stream.Replicas > 1 {
		d.Kept = "replicated"
	}
	b.durability.Store(&d)
}
