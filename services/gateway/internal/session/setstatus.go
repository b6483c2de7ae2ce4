package session

import (
	"context"

	"github.com/parley-im/parley/pkg/errs"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const maxStatusText = 128 // characters

// setStatusCommand tells presence how available the user is on this device;
// presence tells the others what that makes of all the user's devices.
var setStatusCommand = &command{
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		set := f.GetSetStatus()
		switch set.Status {
		case "online", "away", "busy":
		case "":
			return errs.Invalid("status", "is missing")
		default:
			return errs.Invalid("status", `is not "online", "away" or "busy"`)
		}
		return checkLine("text", set.GetText(), maxStatusText)
	},
	run: func(_ context.Context, s *Session, f *wirev1.ClientFrame) error {
		set := f.GetSetStatus()
		s.hub.opts.Announcer.Status(s.SessionID(), set.Status, set.GetText())
		s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_StatusSet{StatusSet: &wirev1.StatusSet{
			Status: set.Status, Text: set.Text,
		}}})
		return nil
	},
}
