import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { parse } from "graphql";
import { createClient } from "graphql-ws";
import { StrictMode, useMemo, useRef } from "react";
import { createRoot } from "react-dom/client";
import "graphiql/graphiql.css";

const FIRST_QUERY = `# Velvet's graph. Sign in, then put the token in the header editor below:
#   { "Authorization": "Bearer <accessToken>" }
# Subscriptions send it in connection_init.

query Schema {
  __schema { queryType { fields { name description } } }
}
`;

/** The Authorization header of the header editor, whatever its case; undefined while the editor holds no object. */
function authorization(headers) {
  try {
    const entry = Object.entries(JSON.parse(headers || "{}")).find(([name]) => name.toLowerCase() === "authorization");
    return entry && String(entry[1]);
  } catch {
    return undefined;
  }
}

/** Nothing for what does not parse: the router says what is wrong with it. */
function parsed(query) {
  try {
    return parse(query);
  } catch {
    return undefined;
  }
}

function Page({ http, socket }) {
  const headers = useRef("");
  const fetcher = useMemo(() => {
    // One socket per token: who asks is settled when a socket opens.
    const clients = new Map();
    const clientFor = (token) => {
      if (!clients.has(token)) {
        const connectionParams = token ? { authorization: token } : {};
        clients.set(token, createClient({ url: socket, connectionParams, lazy: true }));
      }
      return clients.get(token);
    };
    return (request, options) => {
      const text = JSON.stringify(options?.headers ?? {});
      const wsClient = clientFor(authorization(text) ?? authorization(headers.current));
      // The editor's own reading of the text lags behind it; it decides between HTTP and the socket.
      return createGraphiQLFetcher({ url: http, wsClient })(request, { ...options, documentAST: parsed(request.query) });
    };
  }, [http, socket]);
  return (
    <GraphiQL
      fetcher={fetcher}
      defaultQuery={FIRST_QUERY}
      defaultEditorToolsVisibility="headers"
      onEditHeaders={(text) => {
        headers.current = text;
      }}
    />
  );
}

const { httpPath, socketPath } = document.getElementById("velvet").dataset;
const socket = new URL(socketPath, window.location.href);
socket.protocol = socket.protocol === "https:" ? "wss:" : "ws:";
createRoot(document.getElementById("velvet")).render(
  <StrictMode>
    <Page http={httpPath} socket={socket.href} />
  </StrictMode>,
);
