// Defines the elements about money.

import "./wallet.js";
import "./ledger.js";
