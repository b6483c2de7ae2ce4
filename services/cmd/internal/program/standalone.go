package program

import (
	"fmt"
	"net"
	"strings"

	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/services/presence"
)

// Auth makes the settings of the program that runs auth alone.
func (p *Program) Auth() *AuthSettings {
	a := new(AuthSettings)
	a.foreign.dev = &p.trust.dev
	a.registerStandalone(p.Set)
	p.trust.standalone(p.Set, true)
	return a
}

func (a *AuthSettings) registerStandalone(s *config.Set) {
	a.register(s)
	grpcAddr(s, &a.addr, &a.own, "auth", authPort)
}

// Registry makes the settings of the program that runs the registry alone.
func (p *Program) Registry() *RegistrySettings {
	r := new(RegistrySettings)
	r.registerStandalone(p.Set)
	p.trust.standalone(p.Set, true)
	return r
}

func (r *RegistrySettings) registerStandalone(s *config.Set) {
	r.register(s)
	grpcAddr(s, &r.addr, &r.own, "registry", registryPort)
	s.String(&r.services.history, "history-addr", fmt.Sprintf(addressHelp, "history")).Required()
	s.String(&r.services.presence, "presence-addr", fmt.Sprintf(addressHelp, "presence")).Required()
}

// History makes the settings of the program that runs history alone.
func (p *Program) History() *HistorySettings {
	h := new(HistorySettings)
	h.registerStandalone(p.Set)
	p.trust.standalone(p.Set, true)
	return h
}

func (h *HistorySettings) registerStandalone(s *config.Set) {
	h.register(s)
	grpcAddr(s, &h.addr, &h.own, "history", historyPort)
}

// PresenceSettings are the settings of presence.
type PresenceSettings struct {
	presence.Options
	addr, own string
}

// Presence makes the settings of the program that runs presence alone.
func (p *Program) Presence() *PresenceSettings {
	v := new(PresenceSettings)
	v.registerStandalone(p.Set)
	p.trust.standalone(p.Set, true)
	return v
}

func (v *PresenceSettings) registerStandalone(s *config.Set) {
	grpcAddr(s, &v.addr, &v.own, "presence", presencePort)
}

// Events makes the settings of the program that runs events alone.
func (p *Program) Events() *EventsSettings {
	e := new(EventsSettings)
	e.registerStandalone(p.Set)
	p.trust.standalone(p.Set, true)
	return e
}

func (e *EventsSettings) registerStandalone(s *config.Set) {
	e.register(s)
	grpcAddr(s, &e.addr, &e.own, "events", eventsPort)
	s.String(&e.services.presence, "presence-addr", fmt.Sprintf(addressHelp, "presence")).Required()
}

// Gateway makes the settings of the program that runs a gateway alone.
func (p *Program) Gateway() *GatewaySettings {
	g := new(GatewaySettings)
	g.foreign.dev = &p.trust.dev
	g.registerStandalone(p.Set)
	p.trust.standalone(p.Set, false)
	return g
}

func (g *GatewaySettings) registerStandalone(s *config.Set) {
	g.register(s)
	s.Section("Services")
	for _, service := range []struct {
		name string
		addr *string
	}{
		{"auth", &g.services.auth}, {"registry", &g.services.registry},
		{"history", &g.services.history}, {"presence", &g.services.presence},
	} {
		s.String(service.addr, service.name+"-addr", fmt.Sprintf(addressHelp, service.name)).Required()
	}
}

// Names are the settings of all programs, which may share an environment
// and a file; also of the commands that people use, as parley chat.
func Names() []string {
	names := []string{"log-level", "log-format", "admin-addr", "pprof", "ready-patience", "grace",
		"url", "username", "password", "password-file", "token", "token-file", "guest", "patience"}
	for _, register := range []func(*config.Set){
		new(natsSettings).register,
		new(AuthSettings).registerStandalone,
		new(RegistrySettings).registerStandalone,
		new(HistorySettings).registerStandalone,
		new(PresenceSettings).registerStandalone,
		new(EventsSettings).registerStandalone,
		new(GatewaySettings).registerStandalone,
		(&ServeSettings{trust: new(trustSettings)}).register,
	} {
		s := config.New("", "")
		register(s)
		names = append(names, s.Names()...)
	}
	return names
}

// listenable says whether an address at which a service is found is one that
// it can listen on itself.
func listenable(addr string) bool {
	if strings.ContainsAny(addr, ",/") {
		return false
	}
	_, port, err := net.SplitHostPort(addr)
	return err == nil && port != ""
}
