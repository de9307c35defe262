package middleware_test

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gorilla/mux"
	"github.com/labstack/echo/v4"
	"github.com/seed70bc5565/websocket"
)

// The code up to the mark is in middleware.md too, letter by letter.

func mountChi(serve func(c *websocket.Conn, r *http.Request)) http.Handler {
	router := chi.NewRouter()
	router.Handle("/room/{room}", websocket.Handler(serve, nil)) // serve calls chi.URLParam(r, "room")
	return router
}

func mountGorilla(serve func(c *websocket.Conn, r *http.Request)) http.Handler {
	router := mux.NewRouter()
	router.Handle("/room/{room}", websocket.Handler(serve, nil)) // serve calls mux.Vars(r)["room"]
	return router
}

type roomOf struct{}

func mountGin(serve func(c *websocket.Conn, r *http.Request)) http.Handler {
	rooms := websocket.Handler(serve, nil) // serve calls r.Context().Value(roomOf{})
	router := gin.New()
	router.GET("/room/:room", func(c *gin.Context) {
		ctx := context.WithValue(c.Request.Context(), roomOf{}, c.Param("room"))
		rooms.ServeHTTP(c.Writer, c.Request.WithContext(ctx))
	})
	return router
}

func mountEcho(serve func(c *websocket.Conn, r *http.Request)) http.Handler {
	rooms := websocket.Handler(serve, nil) // serve calls r.Context().Value(roomOf{})
	router := echo.New()
	router.GET("/room/:room", func(c echo.Context) error {
		ctx := context.WithValue(c.Request().Context(), roomOf{}, c.Param("room"))
		rooms.ServeHTTP(c.Response(), c.Request().WithContext(ctx))
		return nil
	})
	return router
}

// The mark: end of the code in middleware.md.

func fromContext(r *http.Request) string {
	room, _ := r.Context().Value(roomOf{}).(string)
	return room
}

// mounts are the programs of middleware.md: TestMiddleware runs them with the
// setups.
var mounts = map[string]http.Handler{
	"middleware.md: chi":         mountChi(serve(func(r *http.Request) string { return chi.URLParam(r, "room") })),
	"middleware.md: gorilla/mux": mountGorilla(serve(func(r *http.Request) string { return mux.Vars(r)["room"] })),
	"middleware.md: gin":         mountGin(serve(fromContext)),
	"middleware.md: echo":        mountEcho(serve(fromContext)),
}
