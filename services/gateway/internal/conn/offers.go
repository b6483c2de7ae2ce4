package conn

import (
	"net/http"
	"strings"
)

const (
	extensions     = "Sec-Websocket-Extensions" // as net/http writes it
	fullWindow     = "server_max_window_bits=15"
	offeredDeflate = "permessage-deflate"
)

// takeOffer leaves in a request the first offer of permessage-deflate that is
// well formed and that can be agreed to, in words that coder/websocket
// understands, or none: the library does not look at values, and one that is not
// valid has to be declined (RFC 7692, section 7.1). It says whether the offer
// wants to be told the size of our window.
func takeOffer(h http.Header) (tellWindow bool) {
	lines := h[extensions]
	delete(h, extensions)
	for _, line := range lines {
		for _, offer := range split(line, ',') {
			parameters, ok := parseOffer(offer)
			if !ok {
				continue
			}
			kept := []string{offeredDeflate}
			for name, value := range parameters {
				switch name {
				case "server_no_context_takeover", "client_no_context_takeover":
					ok = ok && value == ""
					kept = append(kept, name)
				case "client_max_window_bits": // we inflate any window, and ask for none
					ok = ok && (value == "" || windowBits(value))
				case "server_max_window_bits": // compress/flate has no smaller window than the largest
					ok = ok && value == "15"
					tellWindow = true
				default:
					ok = false
				}
			}
			if ok {
				h.Set(extensions, strings.Join(kept, "; "))
				return tellWindow
			}
			tellWindow = false
		}
	}
	return false
}

// parseOffer takes an offer apart (RFC 6455, section 9.1). ok is false for one
// of another extension, and where a parameter comes twice.
func parseOffer(offer string) (parameters map[string]string, ok bool) {
	parts := split(offer, ';')
	if strings.TrimSpace(parts[0]) != offeredDeflate {
		return nil, false
	}
	parameters = make(map[string]string, len(parts)-1)
	for _, part := range parts[1:] {
		name, value, given := strings.Cut(part, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		if _, twice := parameters[name]; twice || given && value == "" {
			return nil, false
		}
		parameters[name] = value
	}
	return parameters, true
}

// windowBits says whether a value is one of 8 to 15 (section 7.1.2).
func windowBits(value string) bool {
	switch value {
	case "8", "9", "10", "11", "12", "13", "14", "15":
		return true
	}
	return false
}

// split cuts a header line at a separator that is not within quotes.
func split(line string, separator byte) (parts []string) {
	quoted, begin := false, 0
	for i := 0; i < len(line); i++ {
		switch {
		case quoted && line[i] == '\\':
			i++
		case line[i] == '"':
			quoted = !quoted
		case line[i] == separator && !quoted:
			parts = append(parts, line[begin:i])
			begin = i + 1
		}
	}
	return append(parts, line[begin:])
}
