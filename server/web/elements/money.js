// Defines the elements about money.

import "./ledger.js";
import "./ticket_dialog.js";
import "./tip_button.js";
import "./wallet.js";
