package history_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/errs"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/history"
)

func TestBadInput(t *testing.T) {
	r := start(t, history.Options{})
	publish := func(change func(*historyv1.PublishRequest)) func(context.Context) error {
		return func(ctx context.Context) error {
			request := &historyv1.PublishRequest{
				RoomId: "general", Id: "1", User: &wirev1.User{Id: "u1", Username: "ada"}, Content: proto.String("x"),
			}
			change(request)
			_, err := r.Publish(ctx, request)
			return err
		}
	}
	data := func(text string) func(context.Context) error {
		return publish(func(p *historyv1.PublishRequest) { p.Data = []byte(text) })
	}
	list := func(request *historyv1.ListMessagesRequest) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := r.ListMessages(ctx, request)
			return err
		}
	}
	replay := func(request *historyv1.ReplayRequest) func(context.Context) error {
		return func(ctx context.Context) error {
			stream, err := r.Replay(ctx, request)
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		}
	}
	for name, c := range map[string]struct {
		call  func(context.Context) error
		code  errs.Code
		field string
	}{
		"publish: no room":         {publish(func(p *historyv1.PublishRequest) { p.RoomId = "" }), errs.InvalidArgument, "roomId"},
		"publish: dots":            {publish(func(p *historyv1.PublishRequest) { p.RoomId = "a.b" }), errs.InvalidArgument, "roomId"},
		"publish: wildcard":        {publish(func(p *historyv1.PublishRequest) { p.RoomId = "*" }), errs.InvalidArgument, "roomId"},
		"publish: 65 characters":   {publish(func(p *historyv1.PublishRequest) { p.RoomId = strings.Repeat("a", 65) }), errs.InvalidArgument, "roomId"},
		"publish: long id":         {publish(func(p *historyv1.PublishRequest) { p.Id = strings.Repeat("a", 65) }), errs.InvalidArgument, "id"},
		"publish: no user":         {publish(func(p *historyv1.PublishRequest) { p.User = nil }), errs.InvalidArgument, "user"},
		"publish: no user id":      {publish(func(p *historyv1.PublishRequest) { p.User.Id = "" }), errs.InvalidArgument, "userId"},
		"publish: control":         {publish(func(p *historyv1.PublishRequest) { p.User.Id = "a\x00" }), errs.InvalidArgument, "userId"},
		"publish: no username":     {publish(func(p *historyv1.PublishRequest) { p.User.Username = "" }), errs.InvalidArgument, "username"},
		"publish: long username":   {publish(func(p *historyv1.PublishRequest) { p.User.Username = strings.Repeat("é", 33) }), errs.InvalidArgument, "username"},
		"publish: nothing":         {publish(func(p *historyv1.PublishRequest) { p.Content = nil }), errs.InvalidArgument, "content"},
		"publish: 16 KiB":          {publish(func(p *historyv1.PublishRequest) { p.Content = proto.String(strings.Repeat("x", 16<<10)) }), "", ""},
		"publish: 16 KiB + 1":      {publish(func(p *historyv1.PublishRequest) { p.Content = proto.String(strings.Repeat("x", 16<<10+1)) }), errs.TooLarge, "content"},
		"publish: edit":            {publish(func(p *historyv1.PublishRequest) { p.Kind = historyv1.Message_KIND_EDIT }), errs.InvalidArgument, "kind"},
		"publish: unknown kind":    {publish(func(p *historyv1.PublishRequest) { p.Kind = 99 }), errs.InvalidArgument, "kind"},
		"publish: data":            {data(`[{"a":"\\\"["}]`), "", ""},
		"publish: empty data":      {data(``), errs.InvalidArgument, "data"},
		"publish: no JSON":         {data(`{a:1}`), errs.InvalidArgument, "data"},
		"publish: two values":      {data(`1 2`), errs.InvalidArgument, "data"},
		"publish: data not UTF-8":  {data("\"\xff\""), errs.InvalidArgument, "data"},
		"publish: 64 deep":         {data(strings.Repeat("[", 64) + strings.Repeat("]", 64)), "", ""},
		"publish: 65 deep":         {data(strings.Repeat("[", 65) + strings.Repeat("]", 65)), errs.InvalidArgument, "data"},
		"publish: brackets, text":  {data(`"` + strings.Repeat("[", 70) + `"`), "", ""},
		"publish: data too large":  {data(`"` + strings.Repeat("x", 16<<10) + `"`), errs.TooLarge, "data"},
		"list: no room":            {list(&historyv1.ListMessagesRequest{}), errs.InvalidArgument, "roomId"},
		"list: negative":           {list(&historyv1.ListMessagesRequest{RoomId: "a", Limit: -1}), errs.InvalidArgument, "limit"},
		"list: 1001":               {list(&historyv1.ListMessagesRequest{RoomId: "a", Limit: 1001}), errs.InvalidArgument, "limit"},
		"list: both":               {list(&historyv1.ListMessagesRequest{RoomId: "a", Before: 1, After: new(uint64)}), errs.InvalidArgument, "before"},
		"list: after beyond":       {list(&historyv1.ListMessagesRequest{RoomId: "a", After: proto.Uint64(1 << 63)}), errs.InvalidArgument, "after"},
		"replay: no room":          {replay(&historyv1.ReplayRequest{}), errs.InvalidArgument, "roomId"},
		"replay: wildcard, follow": {replay(&historyv1.ReplayRequest{RoomId: ">", Follow: true}), errs.InvalidArgument, "roomId"},
		"replay: after beyond":     {replay(&historyv1.ReplayRequest{RoomId: "a", From: &historyv1.ReplayRequest_After{After: 1<<64 - 1}}), errs.InvalidArgument, "after"},
		"replay: no time": {replay(&historyv1.ReplayRequest{RoomId: "a", From: &historyv1.ReplayRequest_Since{
			Since: &timestamppb.Timestamp{Nanos: -1}}}), errs.InvalidArgument, "since"},
		"erase: wildcard": {func(ctx context.Context) error {
			_, err := r.Erase(ctx, &historyv1.EraseRequest{RoomId: "*"})
			return err
		}, errs.InvalidArgument, "roomId"},
		"trim: wildcard": {func(ctx context.Context) error {
			_, err := r.Trim(ctx, &historyv1.TrimRequest{RoomId: "*", Keep: 1})
			return err
		}, errs.InvalidArgument, "roomId"},
		"trim: everything": {func(ctx context.Context) error {
			_, err := r.Trim(ctx, &historyv1.TrimRequest{RoomId: "a"})
			return err
		}, errs.InvalidArgument, "keep"},
	} {
		err := c.call(t.Context())
		var coded *errs.Error
		if c.code == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.As(err, &coded) || coded.Code != c.code || coded.Field != c.field {
			t.Errorf("%s: got %v, want %s of %s", name, err, c.code, c.field)
		}
	}
}
