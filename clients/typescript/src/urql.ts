import { type Exchange, fetchExchange, makeOperation, mapExchange, subscriptionExchange } from "@urql/core";

import type { Live } from "./live.js";
import { type StreamHooks, pump } from "./pump.js";
import type { Session } from "./session.js";

/**
 * The last exchanges of an urql client: the session's token on every request, and subscriptions over `live`, which
 * resume by cursor. A cache goes before them.
 */
export function urqlExchanges(live: Live, session: Session, hooks: StreamHooks = {}): Exchange[] {
  return [
    mapExchange({
      onOperation: (operation) =>
        makeOperation(operation.kind, operation, { ...operation.context, fetch: session.fetch }),
    }),
    fetchExchange,
    subscriptionExchange({
      forwardSubscription: ({ query, operationName, variables }) => ({
        subscribe(observer) {
          const request = { query: query ?? "", operationName, variables: variables as Record<string, unknown> };
          const unsubscribe = pump(live, request, hooks, {
            next: ({ data, errors, extensions }) =>
              observer.next({
                data: data ?? null,
                ...(errors ? { errors: [...errors] } : {}),
                ...(extensions ? { extensions: { ...extensions } } : {}),
              }),
            error: (error) => observer.error(error),
            complete: () => observer.complete(),
          });
          return { unsubscribe };
        },
      }),
    }),
  ];
}
