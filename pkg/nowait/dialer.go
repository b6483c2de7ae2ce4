package nowait

import "net"

// Dialer dials as its Dialer does, and gives what Conn makes of it.
type Dialer struct{ net.Dialer }

// Dial connects to an address.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.Dialer.Dial(network, address)
	if err != nil {
		return nil, err
	}
	quick, err := Conn(c)
	if err != nil {
		c.Close()
		return nil, err
	}
	return quick, nil
}
