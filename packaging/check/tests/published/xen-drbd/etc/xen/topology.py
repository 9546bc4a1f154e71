node1 = 'one'
node2 = 'two'
i_am = 'one'
domain_home = {
    'web': 'one',
    'mail': 'two',
}
