import { ApolloLink, HttpLink, Observable } from "@apollo/client";
import { OperationTypeNode, print } from "graphql";

import type { Live } from "./live.js";
import { type StreamHooks, pump } from "./pump.js";
import type { Session } from "./session.js";

/** A link for Apollo Client 4: queries and mutations over HTTP, subscriptions over `live`, which resume by cursor. */
export function apolloLink(live: Live, session: Session, hooks: StreamHooks = {}): ApolloLink {
  const http = new HttpLink({ uri: session.url, fetch: session.fetch });
  const subscriptions = new ApolloLink(
    ({ query, operationName, variables }) =>
      new Observable<ApolloLink.Result>((observer) =>
        pump(live, { query: print(query), operationName, variables }, hooks, observer),
      ),
  );
  return ApolloLink.split(({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION, subscriptions, http);
}
