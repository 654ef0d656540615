// The shop alone, beside a sidecar that runs already: LUNASEC_SOCKET says where.
import { say } from './log.js';
import { settingsOf } from './settings.js';
import { openShop } from './shop.js';

const shop = await openShop(settingsOf(process.env));
say(`the shop is open: ${shop.url}`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void shop.close());
}
