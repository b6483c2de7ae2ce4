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
	"github.com/parley-im/parley/pkg/secret"
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
		"/api/password": g.changePassword,
	} {
		mux.Handle("POST "+path, endpoint(call))
		mux.Handle(path, only(http.MethodPost))
	}
	mux.Handle("GET /api/sessions", answering(g.listSessions))
	mux.Handle("/api/sessions", only("GET, HEAD"))
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
		w.Header().Add("Vary", "Origin")
		if origin := r.Header.Get("Origin"); allowed[origin] {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			if r.Method == http.MethodOptions {
				w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
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
	Username     string      `json:"username"`
	Password     secret.Text `json:"password"`
	NewPassword  secret.Text `json:"newPassword"`
	InviteCode   string      `json:"inviteCode"`
	RefreshToken secret.Text `json:"refreshToken"`
	SessionID    string      `json:"sessionId"`
	All          bool        `json:"all"`
}

// only answers the methods that a path does not have (RFC 9110, section
// 15.5.6).
func only(allowed string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allowed)
		writeErrorAs(w, http.StatusMethodNotAllowed, errs.New(errs.InvalidArgument, "the method is not %s", allowed))
	})
}

// endpoint serves one call that has a body.
func endpoint(f func(context.Context, *http.Request, credentials) (any, error)) http.Handler {
	return answering(func(ctx context.Context, r *http.Request) (any, error) {
		var body credentials
		if err := decodeBody(r.Body, &body); err != nil {
			return nil, err
		}
		return f(ctx, r, body)
	})
}

// answering serves one call: it writes what f answers.
func answering(f func(context.Context, *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
		defer cancel()
		answer, err := f(ctx, r)
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
	in, err := g.opts.Auth.Register(ctx, &authv1.RegisterRequest{
		Username: body.Username, Password: body.Password.Reveal(), InviteCode: body.InviteCode, Client: client(r),
	})
	return signedIn(in), err
}

func (g *Gateway) signIn(ctx context.Context, r *http.Request, body credentials) (any, error) {
	if err := needs(body); err != nil {
		return nil, err
	}
	in, err := g.opts.Auth.Login(ctx, &authv1.LoginRequest{Username: body.Username, Password: body.Password.Reveal(), Client: client(r)})
	return signedIn(in), err
}

func needs(body credentials) error {
	if body.Username == "" {
		return errs.Invalid("username", "is missing")
	}
	if body.Password.IsZero() {
		return errs.Invalid("password", "is missing")
	}
	return nil
}

func (g *Gateway) refresh(ctx context.Context, r *http.Request, body credentials) (any, error) {
	if body.RefreshToken.IsZero() {
		return nil, errs.Invalid("refreshToken", "is missing")
	}
	in, err := g.opts.Auth.Refresh(ctx, &authv1.RefreshRequest{RefreshToken: body.RefreshToken.Reveal(), Client: client(r)})
	return signedIn(in), err
}

// signOut ends the sign-in behind the refresh token or, without one, behind
// the bearer token; or all of its user; or another one of the same user.
func (g *Gateway) signOut(ctx context.Context, r *http.Request, body credentials) (any, error) {
	request := &authv1.RevokeRequest{All: body.All}
	bearer, hasBearer := bearerToken(r)
	switch {
	case body.SessionID != "":
		who, err := g.bearer(r)
		if err != nil {
			return nil, err
		}
		request.OwnerId = who.User.Id
		request.What = &authv1.RevokeRequest_SessionId{SessionId: body.SessionID}
	case !body.RefreshToken.IsZero():
		request.What = &authv1.RevokeRequest_RefreshToken{RefreshToken: body.RefreshToken.Reveal()}
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
	return success{true}, err
}

type success struct {
	Success bool `json:"success"`
}

// changePassword needs the bearer token of a sign-in, and the old password.
func (g *Gateway) changePassword(ctx context.Context, r *http.Request, body credentials) (any, error) {
	bearer, ok := bearerToken(r)
	switch {
	case !ok:
		return nil, errNoBearer
	case body.Password.IsZero():
		return nil, errs.Invalid("password", "is missing")
	case body.NewPassword.IsZero():
		return nil, errs.Invalid("newPassword", "is missing")
	}
	_, err := g.opts.Auth.ChangePassword(ctx, &authv1.ChangePasswordRequest{
		Token: bearer, Password: body.Password.Reveal(), NewPassword: body.NewPassword.Reveal(), Client: client(r),
	})
	return success{true}, err
}

var errNoBearer = errs.New(errs.Unauthenticated, "the Authorization header has no bearer token")

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
