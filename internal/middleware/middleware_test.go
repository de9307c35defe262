// Package middleware_test runs the library behind the routers and middleware
// that programs use. It is a module of its own, because they are dependencies.
package middleware_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/NYTimes/gziphandler"
	"github.com/alexedwards/scs/v2"
	gingzip "github.com/gin-contrib/gzip"
	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-contrib/sessions/cookie"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/gorilla/mux"
	"github.com/gorilla/sessions"
	"github.com/julienschmidt/httprouter"
	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
	"github.com/rs/zerolog/hlog"
	"github.com/seed70bc5565/websocket"
	"github.com/urfave/negroni/v3"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

type roomKey struct{}

// serve sends the room that the request is for, as room finds it, whenever a
// message comes.
func serve(room func(r *http.Request) string) func(c *websocket.Conn, r *http.Request) {
	return func(c *websocket.Conn, r *http.Request) {
		for _, err := range c.Messages(context.Background()) {
			if err != nil || c.Write(context.Background(), websocket.MessageText, []byte(room(r))) != nil {
				return
			}
		}
	}
}

func fromPath(r *http.Request) string { return strings.TrimPrefix(r.URL.Path, "/room/") }

// A setup is a server with middleware before the handler.
type setup struct {
	name string
	// handler returns the server. The log of middleware goes to out.
	handler func(out io.Writer) http.Handler
	// header is a field of the response that the middleware sets, if not "".
	header string
	// logs is in the log of the middleware when the connection is over.
	logs string
	// serverLogs is in the ErrorLog of the http.Server: some compressors keep
	// the status back, and repeat it when the connection has been taken over.
	serverLogs string
	// fails is in the body of the response where it cannot work.
	fails string
}

var setups = []setup{
	{name: "chi", handler: func(io.Writer) http.Handler {
		r := chi.NewRouter()
		r.Handle("/room/{room}", websocket.Handler(serve(func(r *http.Request) string { return chi.URLParam(r, "room") }), nil))
		return r
	}},
	{name: "chi, Detach", handler: func(io.Writer) http.Handler {
		r := chi.NewRouter()
		r.Handle("/room/{room}", websocket.NewServer(
			serve(func(r *http.Request) string { return r.Context().Value(roomKey{}).(string) }),
			&websocket.ServerOptions{Detach: func(r *http.Request) context.Context {
				return context.WithValue(context.Background(), roomKey{}, chi.URLParam(r, "room"))
			}}))
		return r
	}},
	{name: "chi: RequestID, RealIP, Logger, Recoverer, Compress, Timeout", handler: func(out io.Writer) http.Handler {
		r := chi.NewRouter()
		r.Use(chimiddleware.RequestID, chimiddleware.RealIP,
			chimiddleware.RequestLogger(&chimiddleware.DefaultLogFormatter{Logger: log.New(out, "", 0), NoColor: true}),
			chimiddleware.Recoverer, chimiddleware.Compress(5), chimiddleware.Timeout(time.Minute), chimiddleware.Heartbeat("/ping"))
		r.Handle("/room/{room}", websocket.Handler(serve(func(r *http.Request) string { return chi.URLParam(r, "room") }), nil))
		return r
	}, logs: " - 101 "},
	{name: "gin: Logger, Recovery", handler: func(out io.Writer) http.Handler {
		r := gin.New()
		r.Use(gin.LoggerWithWriter(out), gin.RecoveryWithWriter(out))
		h := websocket.Handler(serve(fromPath), nil)
		r.Any("/room/:room", gin.WrapH(h))
		return r
	}, logs: "| 101 |"},
	{name: "gin: gzip, sessions", handler: func(out io.Writer) http.Handler {
		r := gin.New()
		r.Use(gin.LoggerWithWriter(out), gingzip.Gzip(gingzip.DefaultCompression), ginsessions.Sessions("session", cookie.NewStore([]byte("secret"))))
		h := websocket.Handler(serve(fromPath), nil)
		r.Any("/room/:room", func(c *gin.Context) {
			s := ginsessions.Default(c)
			s.Set("room", c.Param("room"))
			s.Save()
			h.ServeHTTP(c.Writer, c.Request)
		})
		return r
	}, header: "Set-Cookie", logs: "| 101 |"},
	{name: "echo: Logger, Recover, Gzip, RequestID", handler: func(out io.Writer) http.Handler {
		e := echo.New()
		e.Logger.SetOutput(out)
		e.Use(echomiddleware.LoggerWithConfig(echomiddleware.LoggerConfig{Output: out, Format: "status=${status} error=${error}\n"}),
			echomiddleware.Recover(), echomiddleware.RequestID(), echomiddleware.Gzip())
		e.Any("/room/:room", echo.WrapHandler(websocket.Handler(serve(fromPath), nil)))
		return e
	}, header: "X-Request-Id", logs: "status=101 error=\n", serverLogs: "WriteHeader on hijacked connection"},
	{name: "echo: ContextTimeout, Secure, CORS", handler: func(out io.Writer) http.Handler {
		e := echo.New()
		e.Logger.SetOutput(out)
		e.Use(echomiddleware.ContextTimeout(time.Minute), echomiddleware.Secure(), echomiddleware.CORS())
		e.Any("/room/:room", echo.WrapHandler(websocket.Handler(serve(fromPath), nil)))
		return e
	}, header: "X-Xss-Protection"},
	{name: "gorilla/mux: handlers.LoggingHandler, RecoveryHandler, CompressHandler", handler: func(out io.Writer) http.Handler {
		r := mux.NewRouter()
		r.Handle("/room/{room}", websocket.Handler(serve(func(r *http.Request) string { return mux.Vars(r)["room"] }), nil))
		return handlers.CombinedLoggingHandler(out, handlers.RecoveryHandler()(handlers.CompressHandler(handlers.ProxyHeaders(r))))
	}, logs: `HTTP/1.1" 101 `},
	{name: "gorilla/sessions", handler: func(out io.Writer) http.Handler {
		store := sessions.NewCookieStore([]byte("secret"))
		h := websocket.Handler(serve(fromPath), nil)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, _ := store.Get(r, "session")
			s.Values["user"] = 1
			s.Save(r, w)
			h.ServeHTTP(w, r)
		})
	}, header: "Set-Cookie"},
	{name: "scs", handler: func(out io.Writer) http.Handler {
		m := scs.New()
		h := websocket.Handler(serve(fromPath), nil)
		return m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m.Put(r.Context(), "user", 1) // the cookie is set in WriteHeader
			h.ServeHTTP(w, r)
		}))
	}, header: "Set-Cookie"},
	{name: "otelhttp", handler: func(out io.Writer) http.Handler {
		return otelhttp.NewHandler(websocket.Handler(serve(fromPath), nil), "room")
	}},
	{name: "promhttp", handler: func(out io.Writer) http.Handler {
		total := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests"}, []string{"code"})
		seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "seconds"}, nil)
		h := promhttp.InstrumentHandlerCounter(total, promhttp.InstrumentHandlerDuration(seconds, websocket.Handler(serve(fromPath), nil)))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			registry := prometheus.NewRegistry()
			registry.MustRegister(total)
			families, _ := registry.Gather()
			fmt.Fprint(out, families)
		})
	}, logs: `value:"101"`},
	{name: "negroni: Logger, Recovery", handler: func(out io.Writer) http.Handler {
		logger := negroni.NewLogger()
		logger.ALogger = log.New(out, "", 0)
		n := negroni.New(negroni.NewRecovery(), logger)
		n.UseHandler(websocket.Handler(serve(fromPath), nil))
		return n
	}, logs: "| 101 |"},
	{name: "zerolog/hlog", handler: func(out io.Writer) http.Handler {
		return hlog.NewHandler(zerolog.New(out))(hlog.AccessHandler(func(r *http.Request, status, size int, d time.Duration) {
			hlog.FromRequest(r).Info().Int("status", status).Msg("")
		})(websocket.Handler(serve(fromPath), nil)))
	}, logs: `"status":101`},
	{name: "klauspost gzhttp", handler: func(io.Writer) http.Handler { return gzhttp.GzipHandler(websocket.Handler(serve(fromPath), nil)) }},
	{name: "NYTimes gziphandler", handler: func(io.Writer) http.Handler {
		return gziphandler.GzipHandler(websocket.Handler(serve(fromPath), nil))
	}, serverLogs: "WriteHeader on hijacked connection"},
	{name: "httprouter", handler: func(io.Writer) http.Handler {
		r := httprouter.New()
		h := websocket.Handler(serve(func(r *http.Request) string {
			return httprouter.ParamsFromContext(r.Context()).ByName("room")
		}), nil)
		r.Handler("GET", "/room/:room", h)
		r.Handler("CONNECT", "/room/:room", h) // over HTTP/2
		return r
	}},
	{name: "net/http: ServeMux, StripPrefix, MaxBytesHandler", handler: func(io.Writer) http.Handler {
		m := http.NewServeMux()
		m.Handle("/room/{room}", http.MaxBytesHandler(websocket.Handler(serve(func(r *http.Request) string { return r.PathValue("room") }), nil), 1000))
		return m
	}},

	// These cannot work: the connection cannot be taken over.
	{name: "http.TimeoutHandler", handler: func(io.Writer) http.Handler {
		return http.TimeoutHandler(websocket.Handler(serve(fromPath), nil), time.Minute, "late")
	}, fails: "no http.Hijacker"},
	{name: "echo: Timeout", handler: func(io.Writer) http.Handler {
		e := echo.New()
		e.Use(echomiddleware.TimeoutWithConfig(echomiddleware.TimeoutConfig{Timeout: time.Minute}))
		e.Any("/room/:room", echo.WrapHandler(websocket.Handler(serve(fromPath), nil)))
		return e
	}, fails: "http.Hijacker"},
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestMiddleware(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	all := setups
	for name, h := range mounts {
		all = append(all, setup{name: name, handler: func(io.Writer) http.Handler { return h }})
	}
	for _, s := range all {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", s.name, secure), func(t *testing.T) { testSetup(t, s, secure) })
		}
	}
}

func testSetup(t *testing.T, s setup, secure bool) {
	var out, serverLog buffer
	served := make(chan struct{}, 100)
	h := s.handler(&out)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { served <- struct{}{} }()
		h.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(&serverLog, "", 0)
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	defer server.Close()
	opts := &websocket.DialOptions{HTTPClient: server.Client(), HTTPHeader: http.Header{"Accept-Encoding": {"gzip"}}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	var conns []*websocket.Conn
	const n = 10
	for i := range n {
		c, resp, err := websocket.Dial(ctx, fmt.Sprintf("%s/room/r%d", server.URL, i), opts)
		if s.fails != "" {
			if err == nil || !strings.Contains(err.Error(), s.fails) {
				t.Errorf("got the error %v, want %q", err, s.fails)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if s.header != "" && resp.Header.Get(s.header) == "" {
			t.Errorf("there is no %s in %v", s.header, resp.Header)
		}
		conns = append(conns, c)
	}
	for i, c := range conns {
		for range 2 {
			if err := c.Write(ctx, websocket.MessageText, []byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, got, err := c.Read(ctx); string(got) != fmt.Sprint("r", i) {
				t.Errorf("connection %d is in the room %q, %v", i, got, err)
			}
		}
		c.Close(websocket.StatusNormalClosure, "")
	}
	for range n {
		<-served
	}
	if !strings.Contains(out.String(), s.logs) {
		t.Errorf("the log of the middleware is %q, want %q in it", &out, s.logs)
	}
	if text := serverLog.String(); s.serverLogs == "" && text != "" || !strings.Contains(text, s.serverLogs) {
		t.Errorf("the log of the server is %q", text)
	}
}
