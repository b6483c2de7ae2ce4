package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// Whatever is started first waits for the rest.
func TestProcessAnyStartOrder(t *testing.T) {
	for name, start := range map[string][]func(d *process.Deployment){
		"NATS last":      {startGateways, startServices, startNATS},
		"gateways first": {startGateways, startNATS, startServices},
	} {
		t.Run(name, func(t *testing.T) {
			d := process.Plan(t, 1)
			for i, step := range start {
				step(d)
				if i == len(start)-1 {
					break
				}
				for _, p := range d.All() {
					process.Eventually(t, recovery, p.Program+" lives", func() error {
						status, _, err := process.Get(p.Admin + strings.Replace(p.ReadyPath, "readyz", "livez", 1))
						if err == nil && status != http.StatusOK {
							err = fmt.Errorf("status %d", status)
						}
						return err
					})
					if p != d.NATS && p.Ready() == nil {
						t.Errorf("%s is ready without what it needs", p.Program)
					}
				}
			}
			d.WaitReady()
			alice := client.Dial(t, d.URLs[0], client.Options{})
			process.Eventually(t, recovery, "auth is found", func() error {
				if status, body := stack.Post(t, d.URLs[0]+"/api/register", map[string]string{"username": "alice", "password": "correct horse"}); status != 200 {
					return fmt.Errorf("%d %v", status, body)
				}
				return nil
			})
			alice.SignIn(stack.Token(t, d.URLs[0], "alice"))
			process.Eventually(t, recovery, "the registry is found", func() error {
				if e := alice.Ask(askCreateRoom()).GetError(); e != nil {
					return fmt.Errorf("%v", e)
				}
				return nil
			})
			alice.Join("another")
			alice.Say("another", "hello")
			for _, p := range d.All() {
				if p != d.NATS {
					linesOf(t, p.Stderr())
				}
				if said := p.Stderr(); strings.Contains(said, `"level":"ERROR"`) {
					t.Errorf("%s: an error at a start in this order:\n%s", p.Program, said)
				}
			}
		})
	}
}

func startNATS(d *process.Deployment) { d.StartNATS() }
func startGateways(d *process.Deployment) {
	for i := range d.Gateways {
		d.StartGateway(i)
	}
}
func startServices(d *process.Deployment) {
	for _, s := range process.Services {
		d.StartService(s)
	}
}
