package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/parley-im/parley/pkg/errs"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

// maxBody bounds a request of the HTTP API, bytes.
const maxBody = 16 << 10

// api is the HTTP API beside the socket (PROTOCOL.md, section 7).
func (g *Gateway) api() http.Handler {
	mux := http.NewServeMux()
	for path, call := range map[string]func(context.Context, *http.Request, credentials) (any, error){
		"/api/register": g.register,
		"/api/auth":     g.signIn,
		"/api/refresh":  g.refresh,
		"/api/logout":   g.signOut,
	} {
		mux.Handle("POST "+path, endpoint(call))
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", http.MethodPost) // RFC 9110, section 15.5.6
			writeErrorAs(w, http.StatusMethodNotAllowed, errs.New(errs.InvalidArgument, "the method is not POST"))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, errs.New(errs.NotFound, "there is nothing of that name in the API"))
	})
	return g.crossOrigin(mux)
}

// crossOrigin lets pages of other origins use the API where they may connect
// to the socket too, and refuses the rest of what a browser says comes from
// elsewhere.
func (g *Gateway) crossOrigin(next http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	allowed := make(map[string]bool)
	for _, origin := range g.opts.AllowedOrigins {
		// Only whole origins can be named to a browser; host patterns are for
		// the socket.
		if guard.AddTrustedOrigin(origin) == nil {
			allowed[origin] = true
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Add("Vary", "Origin")
		if origin := r.Header.Get("Origin"); allowed[origin] {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			if r.Method == http.MethodOptions {
				w.Header().Set("Access-Control-Allow-Methods", "POST")
				w.Header().Set("Access-Control-Allow-Headers", "Content-Type, Authorization")
				w.Header().Set("Access-Control-Max-Age", "600")
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		if err := guard.Check(r); err != nil {
			writeError(w, errs.New(errs.Forbidden, "the origin is not allowed"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// credentials is what a body of the API may hold.
type credentials struct {
	Username     string `json:"username"`
	Password     string `json:"password"`
	RefreshToken string `json:"refreshToken"`
}

// endpoint serves one call: it reads the body and writes what f answers.
func endpoint(f func(context.Context, *http.Request, credentials) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body credentials
		err := decodeBody(http.MaxBytesReader(w, r.Body, maxBody), &body)
		var answer any
		if err == nil {
			ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
			defer cancel()
			answer, err = f(ctx, r, body)
		}
		if err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

func decodeBody(r io.Reader, body *credentials) error {
	raw, err := io.ReadAll(r)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return errs.New(errs.TooLarge, "the body is larger than %d bytes", maxBody)
	}
	if err != nil {
		return errs.New(errs.BadMessage, "the body could not be read")
	}
	if !utf8.Valid(raw) {
		return errs.New(errs.BadMessage, "the body is not UTF-8") // or two names would become one
	}
	if len(raw) == 0 {
		raw = []byte("{}") // then the missing field is named
	}
	var kind *json.UnmarshalTypeError
	switch err := json.Unmarshal(raw, body); {
	case errors.As(err, &kind) && kind.Field != "":
		return &errs.Error{Code: errs.BadMessage, Field: kind.Field, Message: kind.Field + ": is not a " + kind.Type.String()}
	case err != nil:
		return errs.New(errs.BadMessage, "the body is not a JSON object")
	}
	return nil
}

func (g *Gateway) register(ctx context.Context, r *http.Request, body credentials) (any, error) {
	if err := needs(body); err != nil {
		return nil, err
	}
	in, err := g.opts.Auth.Register(ctx, &authv1.RegisterRequest{Username: body.Username, Password: body.Password, Client: client(r)})
	return signedIn(in), err
}

func (g *Gateway) signIn(ctx context.Context, r *http.Request, body credentials) (any, error) {
	if err := needs(body); err != nil {
		return nil, err
	}
	in, err := g.opts.Auth.Login(ctx, &authv1.LoginRequest{Username: body.Username, Password: body.Password, Client: client(r)})
	return signedIn(in), err
}

func needs(body credentials) error {
	if body.Username == "" {
		return errs.Invalid("username", "is missing")
	}
	if body.Password == "" {
		return errs.Invalid("password", "is missing")
	}
	return nil
}

func (g *Gateway) refresh(ctx context.Context, r *http.Request, body credentials) (any, error) {
	if body.RefreshToken == "" {
		return nil, errs.Invalid("refreshToken", "is missing")
	}
	in, err := g.opts.Auth.Refresh(ctx, &authv1.RefreshRequest{RefreshToken: body.RefreshToken, Client: client(r)})
	return signedIn(in), err
}

// signOut ends the sign-in behind the refresh token or, without one, behind
// the bearer token.
func (g *Gateway) signOut(ctx context.Context, r *http.Request, body credentials) (any, error) {
	request := new(authv1.RevokeRequest)
	bearer, hasBearer := bearerToken(r)
	switch {
	case body.RefreshToken != "":
		request.What = &authv1.RevokeRequest_RefreshToken{RefreshToken: body.RefreshToken}
	case hasBearer:
		request.What = &authv1.RevokeRequest_Token{Token: bearer}
	default:
		return nil, errs.Invalid("refreshToken", "is missing")
	}
	_, err := g.opts.Auth.Revoke(ctx, request)
	if e := errs.From(err); err != nil && e.Code == errs.InvalidArgument {
		// It is there, and no token of ours.
		return nil, &errs.Error{Code: errs.Unauthenticated, Message: e.Message}
	}
	return struct {
		Success bool `json:"success"`
	}{true}, err
}

func client(r *http.Request) *authv1.Client {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return &authv1.Client{Address: host, UserAgent: r.UserAgent()}
}

type signedInBody struct {
	Token        string   `json:"token"`
	RefreshToken string   `json:"refreshToken"`
	ExpiresIn    int64    `json:"expiresIn"` // seconds
	User         userBody `json:"user"`
}

type userBody struct {
	ID       string   `json:"id"`
	Username string   `json:"username"`
	Roles    []string `json:"roles"`
}

func signedIn(in *authv1.SignedIn) signedInBody {
	roles := in.GetUser().GetRoles()
	if roles == nil {
		roles = []string{} // a list always, in JSON too
	}
	return signedInBody{
		Token:        in.GetToken(),
		RefreshToken: in.GetRefreshToken(),
		ExpiresIn:    int64(math.Round(time.Until(in.GetExpiresAt().AsTime()).Seconds())),
		User:         userBody{in.GetUser().GetId(), in.GetUser().GetUsername(), roles},
	}
}

type errorBody struct {
	Error struct {
		Code    errs.Code `json:"code"`
		Message string    `json:"message"`
		Field   string    `json:"field,omitempty"`
	} `json:"error"`
}

// statuses are the HTTP statuses of the codes; what is not here is 500.
var statuses = map[errs.Code]int{
	errs.BadMessage:      http.StatusBadRequest,
	errs.InvalidArgument: http.StatusBadRequest,
	errs.Unauthenticated: http.StatusUnauthorized,
	errs.Forbidden:       http.StatusForbidden,
	errs.NotFound:        http.StatusNotFound,
	errs.AlreadyExists:   http.StatusConflict,
	errs.TooLarge:        http.StatusRequestEntityTooLarge,
	errs.RateLimited:     http.StatusTooManyRequests,
	errs.Unavailable:     http.StatusServiceUnavailable,
}

func writeError(w http.ResponseWriter, err error) {
	e := errs.From(err)
	status := statuses[e.Code]
	if status == 0 {
		status = http.StatusInternalServerError
	}
	writeErrorAs(w, status, e)
}

func writeErrorAs(w http.ResponseWriter, status int, e *errs.Error) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	var body errorBody
	body.Error.Code, body.Error.Message, body.Error.Field = e.Code, e.Message, e.Field
	writeJSON(w, status, body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
