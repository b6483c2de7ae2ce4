// Command protoc-gen-reference is a plugin of buf that writes the reference of
// the gRPC APIs, REFERENCE.md, of the comments in proto: each service with its
// methods and the scopes that they need, and each message that they know.
package main

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"
)

// scopeOption is the number of parley.access.v1.scope.
const scopeOption = 50001

func main() {
	protogen.Options{}.Run(func(plugin *protogen.Plugin) error {
		plugin.SupportedFeatures = uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL)
		r := &reference{GeneratedFile: plugin.NewGeneratedFile("REFERENCE.md", ""), scopes: make(map[uint64]string)}
		r.choose(plugin.Files)
		r.write()
		return nil
	})
}

// reference is the page.
type reference struct {
	*protogen.GeneratedFile
	files []*protogen.File // with a service
	// others are what those use of files without one.
	others []*protogen.Message
	scope  *protogen.Enum
	scopes map[uint64]string // what its values are called, by their numbers
	shown  map[protoreflect.FullName]bool
}

// choose finds what the page has.
func (r *reference) choose(files []*protogen.File) {
	r.shown = make(map[protoreflect.FullName]bool)
	for _, f := range files {
		if !f.Generate {
			continue
		}
		for _, e := range f.Enums {
			if e.Desc.FullName() == "parley.access.v1.Scope" {
				r.scope = e
				for _, v := range e.Values {
					r.scopes[uint64(v.Desc.Number())] = strings.ToLower(strings.TrimPrefix(string(v.Desc.Name()), "SCOPE_"))
				}
			}
		}
		if len(f.Services) > 0 {
			r.files = append(r.files, f)
		}
	}
	slices.SortFunc(r.files, func(a, b *protogen.File) int { return strings.Compare(a.Desc.Path(), b.Desc.Path()) })
	for _, f := range r.files {
		for _, e := range f.Enums {
			r.shown[e.Desc.FullName()] = true
		}
		for _, m := range f.Messages {
			r.show(m)
		}
	}
	for _, f := range r.files {
		for _, m := range f.Messages {
			r.follow(m)
		}
	}
}

func (r *reference) show(m *protogen.Message) {
	r.shown[m.Desc.FullName()] = true
	for _, e := range m.Enums {
		r.shown[e.Desc.FullName()] = true
	}
	for _, nested := range m.Messages {
		r.show(nested)
	}
}

// follow shows the messages that m has fields of, too.
func (r *reference) follow(m *protogen.Message) {
	for _, f := range m.Fields {
		used := f.Message
		if used == nil || r.shown[used.Desc.FullName()] || used.Desc.IsMapEntry() || !ours(used.Desc) {
			continue
		}
		r.show(used)
		r.others = append(r.others, used)
		r.follow(used)
	}
	for _, nested := range m.Messages {
		r.follow(nested)
	}
}

func ours(d protoreflect.Descriptor) bool {
	return strings.HasPrefix(string(d.FullName()), "parley.")
}

func (r *reference) write() {
	r.P("# gRPC reference")
	r.P()
	r.P("Made of the comments in this folder by `make gen`. [Your own back end](../services/examples/README.md) begins with examples, and says how a caller shows who it is.")
	r.P()
	r.P("Names of fields are as in the `.proto` files; in JSON, as `grpcurl` and protojson have it, `room_id` may also be `roomId`.")
	r.P()
	for _, f := range r.files {
		r.P("- [", f.Desc.Package(), "](#", anchor(f.Desc.Package()), "): ", strings.Join(methods(f), ", "))
	}
	if r.scope != nil {
		r.enum(r.scope)
	}
	for _, f := range r.files {
		r.P()
		r.P("## ", f.Desc.Package())
		r.P()
		r.P("[", f.Desc.Path(), "](", f.Desc.Path(), ")")
		r.paragraphs(f.Desc.SourceLocations().ByPath(protoreflect.SourcePath{2}).LeadingComments) // package, in FileDescriptorProto
		for _, s := range f.Services {
			r.service(s)
		}
		for _, e := range f.Enums {
			r.enum(e)
		}
		for _, m := range f.Messages {
			r.message(m)
		}
	}
	if len(r.others) > 0 {
		r.P()
		r.P("## What they share")
	}
	for _, m := range r.others {
		r.message(m)
	}
}

func methods(f *protogen.File) (names []string) {
	for _, s := range f.Services {
		for _, m := range s.Methods {
			names = append(names, fmt.Sprintf("[%s](#%s)", m.Desc.Name(), anchor(m.Desc.FullName())))
		}
	}
	return names
}

func (r *reference) service(s *protogen.Service) {
	r.paragraphs(string(s.Comments.Leading))
	for _, m := range s.Methods {
		r.P()
		r.P("### ", m.Desc.FullName())
		r.paragraphs(string(m.Comments.Leading))
		r.P()
		stream := map[bool]string{true: "a stream of "}
		r.P("Takes ", stream[m.Desc.IsStreamingClient()], r.link(m.Input.Desc), ", answers ", stream[m.Desc.IsStreamingServer()], r.link(m.Output.Desc),
			"; needs the scope `", r.needs(m), "`.")
	}
}

// needs reads the option, which this program knows by its number alone.
func (r *reference) needs(m *protogen.Method) string {
	rest := []byte(m.Desc.Options().ProtoReflect().GetUnknown())
	for len(rest) > 0 {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			break
		}
		if rest = rest[n:]; number == scopeOption {
			value, _ := protowire.ConsumeVarint(rest)
			return r.scopes[value]
		}
		if n = protowire.ConsumeFieldValue(number, kind, rest); n < 0 {
			break
		}
		rest = rest[n:]
	}
	return "of nobody"
}

func (r *reference) message(m *protogen.Message) {
	r.P()
	r.P("### ", m.Desc.FullName())
	r.paragraphs(string(m.Comments.Leading))
	if len(m.Fields) > 0 {
		r.P()
		r.P("| field | type | |")
		r.P("| --- | --- | --- |")
	}
	for _, f := range m.Fields {
		name := "`" + string(f.Desc.Name()) + "`"
		about := inLine(string(f.Comments.Leading) + "\n" + string(f.Comments.Trailing))
		if f.Oneof != nil && !f.Oneof.Desc.IsSynthetic() {
			about = strings.TrimSpace("One of `" + string(f.Oneof.Desc.Name()) + "`. " + about)
			if f.Oneof.Fields[0] == f {
				about = strings.TrimSpace(about + " " + inLine(string(f.Oneof.Comments.Leading)))
			}
		}
		r.P("| ", name, " | ", r.fieldType(f), " | ", about, " |")
	}
	for _, e := range m.Enums {
		r.enum(e)
	}
	for _, nested := range m.Messages {
		if !nested.Desc.IsMapEntry() {
			r.message(nested)
		}
	}
}

func (r *reference) fieldType(f *protogen.Field) string {
	var name string
	switch {
	case f.Desc.IsMap():
		return "map of " + f.Desc.MapKey().Kind().String() + " to " + r.fieldType(f.Message.Fields[1])
	case f.Message != nil:
		name = r.link(f.Message.Desc)
	case f.Enum != nil:
		name = r.link(f.Enum.Desc)
	default:
		name = f.Desc.Kind().String()
	}
	switch {
	case f.Desc.IsList():
		return "repeated " + name
	case f.Desc.HasOptionalKeyword():
		return "optional " + name
	}
	return name
}

func (r *reference) enum(e *protogen.Enum) {
	r.P()
	r.P("### ", e.Desc.FullName())
	r.paragraphs(string(e.Comments.Leading))
	r.P()
	r.P("| value | |")
	r.P("| --- | --- |")
	for _, v := range e.Values {
		r.P("| `", v.Desc.Name(), "` | ", inLine(string(v.Comments.Leading)+"\n"+string(v.Comments.Trailing)), " |")
	}
}

// link names a message or an enum, with a link where the page has it.
func (r *reference) link(d protoreflect.Descriptor) string {
	name := strings.TrimPrefix(string(d.FullName()), string(d.ParentFile().Package())+".")
	if !r.shown[d.FullName()] {
		return "`" + string(d.FullName()) + "`"
	}
	return fmt.Sprintf("[%s](#%s)", name, anchor(d.FullName()))
}

// anchor is what a heading with this name is called in addresses.
func anchor(name protoreflect.FullName) string {
	return strings.ToLower(strings.ReplaceAll(string(name), ".", ""))
}

// paragraphs writes a comment as text.
func (r *reference) paragraphs(comment string) {
	if strings.TrimSpace(comment) == "" {
		return
	}
	r.P()
	for line := range strings.Lines(strings.Trim(comment, "\n")) {
		if strings.HasPrefix(strings.TrimSpace(line), "Errors: ") {
			r.P()
		}
		r.P(plain(strings.TrimSpace(line)))
	}
}

// inLine is a comment for a cell of a table.
func inLine(comment string) string {
	return strings.ReplaceAll(plain(strings.Join(strings.Fields(comment), " ")), "|", `\|`)
}

// plain keeps what a comment says from being taken for HTML or emphasis.
func plain(text string) string { return escapes.Replace(text) }

var escapes = strings.NewReplacer("<", "&lt;", "*", `\*`)
